mod support {
    pub mod net;
}
use support::net::*;
#[test]
fn smoke() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)).duplicate(Every(2)));
    net.host("198.18.0.3", answer().delay(ms(10)).swap_pairs());
    net.host("198.18.0.4", refuse(Refusal::Prohibited));
    net.host("198.18.0.5", answer().behind(&["198.18.255.1"]));
    net.host("fd00::1", answer().delay(ms(10)).after(2, refuse(Refusal::Host)));
    net.spin(true);
    let out = net.command("fping").args(["-D", "-C", "4", "-p", "30", "-i","1", "198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.0.4", "fd00::1"]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    println!("{}", String::from_utf8_lossy(&out.stderr));
    let out = net.command("fping").args(["-H", "1",  "-C", "4", "-p", "30", "-i","1", "198.18.0.5"]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    println!("{}", String::from_utf8_lossy(&out.stderr));
    for e in net.log() { println!("{:?} {:?} {:?}", e.destination, e.what, e.replies); }
    panic!();
}
