# Asks SmokePing's own matcher, through its public module, what it says of made-up series. A line is a type, a pattern and
# values with blanks between them: percents for loss, milliseconds for rtt, U where the median is unknown. The answer has a
# 1 or a 0 for each value: whether the pattern matches when that value has come. As in the daemon, the values begin with
# the mark of the start, and are cut to the length of the pattern.
use strict;
use warnings;
use Smokeping;

$| = 1;
my %alerts;
while (my $line = <STDIN>) {
    chomp $line;
    my ($type, $pattern, $series) = split /\t/, $line;
    my $alert = $alerts{"$type $pattern"} //= do {
        my $config = { Alerts => { asked => { type => $type, pattern => $pattern, comment => 'asked' } } };
        Smokeping::init_alerts($config);
        $config->{Alerts}{asked};
    };
    my @values = ('S');
    my $answer = '';
    foreach my $value (split / /, $series) {
        push @values, $value eq 'U' ? undef : $type eq 'rtt' ? $value / 1000 : $value;
        shift @values while @values > $alert->{maxlength};
        my $data = { loss => [@values], rtt => [@values] };
        $answer .= $alert->{sub}->($data) ? 1 : 0;
    }
    print "$answer\n";
}
