//! `latmon ping --fping`: in fping's place. It takes the options that SmokePing's FPing probe passes, asks every target
//! COUNT times, and prints fping's lines for `-C COUNT`, where fping does: each reply to standard output, unless `-q` is
//! there too, and the times to standard error. It is no fping beyond that.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use latmon::probe::icmp::Family;
use latmon::probe::{self, EchoSettings, LookEvent, LookSettings, Looked, NotFound, Stop};
use latmon::round::{Ping, Rtt};

use super::super::family::FamilyArgs;
use super::super::{output, unprivileged};
use super::{LOOKUP_PATIENCE, has_answered, stop_on_signals, target};

/// fping's options, by its names. The help has the form in which SmokePing looks for them: ` -S `, ` -O `, ` -4 `.
#[derive(Parser)]
#[command(name = "fping", disable_help_flag = true, disable_version_flag = true)]
struct Args {
    #[arg(required = true)]
    targets: Vec<String>,
    #[arg(short = 'C', long = "vcount", value_parser = clap::value_parser!(u32).range(1..=i64::from(LookSettings::MOST_PINGS)))]
    count: u32,
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    family: FamilyArgs,
    #[arg(short = 'b', long, default_value_t = 56, value_parser = clap::value_parser!(u16).range(..=i64::from(EchoSettings::MOST_PAYLOAD)))]
    size: u16,
    #[arg(short = 'H', long, value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    #[arg(short = 'i', long, default_value = "10", value_parser = millis)]
    interval: Duration,
    #[arg(short = 'I', long)]
    iface: Option<String>,
    #[arg(short = 'M', long)]
    dontfrag: bool,
    #[arg(short = 'O', long, default_value = "0", value_parser = tos)]
    tos: u8,
    #[arg(short = 'p', long, default_value = "1000", value_parser = some_millis)]
    period: Duration,
    #[arg(short = 'S', long)]
    src: Option<std::net::IpAddr>,
    #[arg(short = 't', long, value_parser = some_millis)]
    timeout: Option<Duration>,
    /// Of no meaning where every target is asked a fixed number of times
    #[arg(short = 'B', long = "backoff")]
    _backoff: Option<f64>,
    /// Likewise
    #[arg(short = 'r', long = "retry")]
    _retry: Option<u32>,
}

/// fping's exit codes, as its manual has them.
#[derive(Clone, Copy)]
enum Exit {
    AllReachable = 0,
    SomeUnreachable = 1,
    SomeNotFound = 2,
    BadArguments = 3,
    SystemFailure = 4,
}

/// Does what `arguments`, those behind the program's name, say in fping's language.
pub(in crate::cli) fn run(arguments: &[OsString]) -> ExitCode {
    // fping knows these wherever they stand; the first of them wins.
    for word in arguments {
        match word.to_str() {
            Some("-h" | "--help") => return output::print(HELP).into(),
            Some("-v" | "--version") => {
                return output::print(&format!("fping: latmon {}\n", env!("CARGO_PKG_VERSION"))).into();
            }
            _ => {}
        }
    }
    let exit = match Args::try_parse_from(std::iter::once(&OsString::from("fping")).chain(arguments)) {
        Ok(args) => look(&args),
        Err(error) => {
            complain(&explained(&error));
            Exit::BadArguments
        }
    };
    ExitCode::from(exit as u8)
}

fn look(args: &Args) -> Exit {
    let echo = args.echo();
    let stop = match unprivileged::open_sockets(&echo).and_then(|()| stop_on_signals()) {
        Ok(stop) => stop,
        Err(failure) => {
            complain(&failure.to_string());
            return Exit::SystemFailure;
        }
    };
    let found = args.addresses(&stop);
    let targets = args.targets.iter().zip(&found);
    let reachable =
        targets.filter_map(|(host, found)| Some(target(host, *found.as_ref().ok()?, echo.clone())));
    if !args.quiet {
        for (host, why) in
            args.targets.iter().zip(&found).filter_map(|(host, it)| Some((host, it.as_ref().err()?)))
        {
            output::error_text(&format!("{host}: {why}\n"));
        }
    }
    let settings = LookSettings {
        targets: reachable.collect(),
        count: args.count,
        interval: args.period,
        gap: args.interval,
        // As fping has it where it asks a number of times.
        timeout: args.timeout.unwrap_or(args.period.min(Duration::from_secs(2))),
    };
    let mut replies = Replies::new(&settings, args.quiet);
    match probe::look(&settings, &stop, &mut |target, event| replies.tell(target, &event)) {
        Err(error) => {
            complain(&error.to_string());
            Exit::SystemFailure
        }
        Ok(looked) => {
            // fping parts the times from the replies, on standard error too.
            let parting = if args.quiet { "" } else { "\n" };
            output::error_text(&format!("{parting}{}", lines(&looked, replies.width)));
            match () {
                () if found.iter().any(Result::is_err) => Exit::SomeNotFound,
                () if looked.iter().all(has_answered) => Exit::AllReachable,
                () => Exit::SomeUnreachable,
            }
        }
    }
}

/// A line for each reply and for each that did not come, to standard output.
struct Replies {
    hosts: Vec<String>,
    /// That of the widest host.
    width: usize,
    quiet: bool,
    /// For each target how many pings are over, how many of them were answered, and how long these took in all.
    so_far: Vec<(u32, u32, Duration)>,
}

impl Replies {
    fn new(settings: &LookSettings, quiet: bool) -> Self {
        let hosts: Vec<String> = settings.targets.iter().map(|it| it.target.host.clone()).collect();
        let width = hosts.iter().map(String::len).max().unwrap_or(0);
        Self { width, quiet, so_far: vec![(0, 0, Duration::ZERO); hosts.len()], hosts }
    }

    fn tell(&mut self, target: usize, event: &LookEvent) {
        if !self.quiet
            && let Some(line) = self.line(target, event)
        {
            // Whoever closed it has no more use for the lines, and may still have one for the times.
            let _ = output::print(&line);
        }
    }

    fn line(&mut self, target: usize, event: &LookEvent) -> Option<String> {
        let (over, answered, sum) = &mut self.so_far[target];
        let (ping, what) = match event {
            LookEvent::Answered { ping, rtt, bytes, .. } => {
                *answered += 1;
                *sum += rtt.duration();
                (ping, format!("{bytes} bytes, {} ms", millis_of(*rtt)))
            }
            LookEvent::Lost { ping } => (ping, "timed out".to_owned()),
            LookEvent::Unknown { .. } | LookEvent::Refused { .. } | LookEvent::Odd { .. } => return None,
        };
        *over += 1;
        let average =
            sum.checked_div(*answered).map_or_else(|| "NaN".to_owned(), |mean| millis_of(Rtt::new(mean)));
        let loss = (*over - *answered) * 100 / *over;
        let (host, width) = (&self.hosts[target], self.width);
        Some(format!("{host:width$} : [{ping}], {what} ({average} avg, {loss}% loss)\n"))
    }
}

/// `192.0.2.1   : 0.16 - 12.3`: the times in milliseconds, in the order the pings left.
fn lines(looked: &[Looked], width: usize) -> String {
    let mut lines = String::new();
    for it in looked {
        let times: Vec<String> = it.round.pings().iter().map(time).collect();
        lines.push_str(&format!("{:width$} : {}\n", it.round.target().host, times.join(" ")));
    }
    lines
}

fn time(ping: &Ping) -> String {
    match ping {
        Ping::Answered(rtt) => millis_of(*rtt),
        Ping::Lost | Ping::Unknown(_) => "-".to_owned(),
    }
}

/// Three significant digits, as fping has them, and at most three decimals.
fn millis_of(rtt: Rtt) -> String {
    match rtt.as_millis_f64() {
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

impl Args {
    /// The targets' addresses. Where no family is asked for, names have that of the source: from there no other one can be
    /// asked. An address is what it is.
    fn addresses(&self, stop: &Stop) -> Vec<Result<SocketAddr, NotFound>> {
        let wanted = self.family.wanted();
        let of_source = self.src.map(Family::of);
        let mut found = probe::addresses(&self.targets, wanted.or(of_source), LOOKUP_PATIENCE, Some(stop));
        for (host, found) in self.targets.iter().zip(&mut found) {
            if wanted.is_none()
                && let Err(NotFound::OtherFamily(_)) = found
            {
                *found =
                    probe::addresses(std::slice::from_ref(host), None, LOOKUP_PATIENCE, Some(stop)).remove(0);
            }
        }
        found
    }

    fn echo(&self) -> EchoSettings {
        EchoSettings {
            // fping's least is smaller; what proves a reply to be ours needs some more.
            payload: self.size.max(EchoSettings::LEAST_PAYLOAD),
            ttl: self.ttl,
            // The whole octet, of which the two lowest bits are for congestion notification now.
            dscp: self.tos >> 2,
            dont_fragment: self.dontfrag,
            source: self.src,
            interface: self.iface.clone(),
            any_source: false,
        }
    }
}

fn millis(text: &str) -> Result<Duration, &'static str> {
    millis_from(0.0, text).ok_or("write milliseconds from 0 to 3600000")
}

fn some_millis(text: &str) -> Result<Duration, &'static str> {
    millis_from(1.0, text).ok_or("write milliseconds from 1 to 3600000")
}

fn millis_from(least: f64, text: &str) -> Option<Duration> {
    let millis: f64 = text.parse().ok()?;
    (least..=3_600_000.0).contains(&millis).then(|| Duration::from_nanos((millis * 1e6).round() as u64))
}

fn tos(text: &str) -> Result<u8, &'static str> {
    let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hexadecimal) => u8::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    number.map_err(|_| "write a number from 0 to 255, or 0x00 to 0xff")
}

/// clap's words in one line.
fn explained(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let told = told.join(" ");
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    match error.kind() {
        ErrorKind::UnknownArgument => format!("{told}: latmon takes only what fping -h tells here"),
        _ => format!("{told}: see fping -h"),
    }
}

fn complain(line: &str) {
    output::error_text(&format!("fping (latmon): {line}\n"));
}

const HELP: &str = "\
Usage: fping -C COUNT [options] TARGET...

This is latmon in fping's place: it prints the lines of fping -C COUNT, the times to standard error.

   -4         only ping IPv4 addresses
   -6         only ping IPv6 addresses
   -b BYTES   payload of an echo (default 56)
   -B N       taken and of no effect, as in fping with -C
   -C COUNT   how often each target is asked
   -H N       hops an echo may take
   -i MSEC    between two echoes to different targets (default 10)
   -I IFACE   leave by this interface
   -M         set the Don't Fragment flag
   -O TOS     type of service, as 0x20 or 32
   -p MSEC    from one echo to a target to the next (default 1000)
   -q         quiet: only the times, no line per reply
   -r N       taken and of no effect, as in fping with -C
   -S ADDR    source address
   -t MSEC    how long a reply may take (default: the period, up to 2000)
   -v         show version
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Args, String> {
        Args::try_parse_from(words.split(' ')).map_err(|error| explained(&error))
    }

    /// Command lines that SmokePing is known to make, the first at its start, to see what unit the times have.
    #[test]
    fn the_options_of_smokeping_are_taken() {
        assert!(parsed("fping -C 1 localhost").is_ok());
        let plain = parsed("fping -C 20 -q -B1 -r1 -4 -i10 192.0.2.1 example.org").unwrap();
        assert_eq!((plain.count, plain.targets.len(), plain.family.wanted()), (20, 2, Some(Family::V4)));
        let all =
            "fping -C 30 -q -B1 -r1 -6 -b5000 -t1500 -i1.5 -p500 -S2001:db8::1 -O0x20 -I eth0 2001:db8::2";
        let all = parsed(all).unwrap();
        assert_eq!(
            (all.period, all.timeout),
            (Duration::from_millis(500), Some(Duration::from_millis(1500)))
        );
        assert_eq!(all.interval, Duration::from_micros(1500));
        let echo = all.echo();
        assert_eq!((echo.payload, echo.dscp, echo.interface.as_deref()), (5000, 8, Some("eth0")));
        assert_eq!(echo.source, Some("2001:db8::1".parse().unwrap()));
        for option in [" -S ", " -O ", " -4 ", " -6 "] {
            assert!(HELP.contains(option), "SmokePing looks for {option} in the help");
        }
    }

    #[test]
    fn what_is_not_taken_is_told() {
        let error = |words| parsed(words).err().expect(words);
        assert!(error("fping -q 192.0.2.1").contains("--vcount"), "{}", error("fping -q 192.0.2.1"));
        assert!(error("fping -C 20 -q -l 192.0.2.1").contains("'-l'"));
        assert!(error("fping -C 20 -q -O 256 192.0.2.1").contains("0 to 255"));
        assert!(error("fping -C 20 -q -t x 192.0.2.1").contains("milliseconds"));
        assert!(error("fping -C 20 -q -p 0 192.0.2.1").contains("milliseconds from 1"));
    }

    /// As `fping -C 1 -q` prints what a far end of these delays makes it measure.
    #[test]
    fn times_have_three_digits() {
        let shown = |micros| time(&Ping::Answered(Rtt::new(Duration::from_micros(micros))));
        assert_eq!(
            [7, 162, 1_234, 12_345, 123_456, 1_234_567].map(shown),
            ["0.007", "0.162", "1.23", "12.3", "123", "1235"]
        );
        assert_eq!(time(&Ping::Lost), "-");
    }
}
