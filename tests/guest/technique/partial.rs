//! What the kernel sees as data: programs that a listed interpreter reads.

use super::{Technique, technique};

const DATA: &str = "an allowed interpreter reads its program as data";

pub(super) const ROWS: &[Technique] = &[
    technique("script-by-shell", "a dropped script as an argument of the shell", "sh(1)")
        .after("echo 'exit 0' > /tmp/s.sh")
        .by(&["exec", "/bin/sh", "/tmp/s.sh"])
        .partial(DATA),
    technique("shell-command", "a program in the shell's arguments", "sh(1), -c")
        .by(&["exec", "/bin/sh", "-c", "exit 0"])
        .partial(DATA),
    technique("script-by-python", "a dropped script as an argument of Python", "python3(1); GTFOBins: python")
        .after("echo 'raise SystemExit(0)' > /tmp/s.py")
        .by(&["exec", "/usr/bin/python3", "/tmp/s.py"])
        .partial(DATA),
    technique("python-command", "a program in Python's arguments", "python3(1), -c; GTFOBins: python")
        .by(&["exec", "/usr/bin/python3", "-c", "raise SystemExit(0)"])
        .partial(DATA),
    technique("perl-command", "a program in Perl's arguments", "perlrun(1), -e; GTFOBins: perl")
        .by(&["exec", "/usr/bin/perl", "-e", "exit 0"])
        .partial(DATA),
    technique("awk-command", "a command run by awk", "mawk(1), system; GTFOBins: mawk")
        .by(&["exec", "/usr/bin/mawk", "BEGIN { exit system(\"exit 0\") }"])
        .partial(DATA),
];
