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
    technique("script-sourced", "a dropped script read by the shell's own `.`", "sh(1), dot")
        .after("echo 'exit 0' > /tmp/dot.sh")
        .by(&["exec", "/bin/sh", "-c", ". /tmp/dot.sh"])
        .partial(DATA),
    technique("script-by-python", "a dropped script as an argument of Python", "python3(1); GTFOBins: python")
        .after("echo 'raise SystemExit(0)' > /tmp/s.py")
        .by(&["exec", "/usr/bin/python3", "/tmp/s.py"])
        .partial(DATA),
    technique("python-command", "a program in Python's arguments", "python3(1), -c; GTFOBins: python")
        .by(&["exec", "/usr/bin/python3", "-c", "raise SystemExit(0)"])
        .partial(DATA),
    technique(
        "python-module-path",
        "a dropped Python module by PYTHONPATH",
        "python3(1), PYTHONPATH; MITRE ATT&CK T1574.007",
    )
    .after("mkdir -p /tmp/pp; echo 'raise SystemExit(0)' > /tmp/pp/dropped.py")
    .by(&[
        "exec",
        "/usr/bin/env",
        "PYTHONPATH=/tmp/pp",
        "/usr/bin/python3",
        "-c",
        "import dropped; raise SystemExit(1)",
    ])
    .partial(DATA),
    technique("perl-command", "a program in Perl's arguments", "perlrun(1), -e; GTFOBins: perl")
        .by(&["exec", "/usr/bin/perl", "-e", "exit 0"])
        .partial(DATA),
    technique("perl-option-variable", "a dropped Perl module by PERL5OPT and PERL5LIB", "perlrun(1), PERL5OPT")
        .after("mkdir -p /tmp/pl; echo 'exit 0; 1;' > /tmp/pl/Dropped.pm")
        .by(&["exec", "/usr/bin/env", "PERL5LIB=/tmp/pl", "PERL5OPT=-MDropped", "/usr/bin/perl", "-e", "exit 1"])
        .partial(DATA),
    technique("awk-command", "a command run by awk", "mawk(1), system; GTFOBins: mawk")
        .by(&["exec", "/usr/bin/mawk", "BEGIN { exit system(\"exit 0\") }"])
        .partial(DATA),
    technique("tar-checkpoint", "a command run by tar", "tar(1), --checkpoint-action; GTFOBins: tar")
        .by(&[
            "watched",
            "ran",
            "denied",
            "tar",
            "--create",
            "--file=/dev/null",
            "--checkpoint=1",
            "--checkpoint-action=exec=echo ran",
            "/etc/passwd",
        ])
        .partial(DATA),
    technique("sed-command", "a command run by sed", "sed(1), e; GTFOBins: sed")
        .by(&["watched", "ran", "denied", "sed", "-n", "1e echo ran", "/etc/passwd"])
        .partial(DATA),
];
