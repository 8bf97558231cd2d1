//! Libraries that a listed program is made to load: by its environment, its configuration, its plug-ins.

use super::{Technique, technique};

const MAP: &str = "map";
const WRITTEN: &str = "written";
/// What the payload says when it runs, and what the loader says when it may not map it.
const RAN: &str = "payload loaded";
const REFUSED: &str = "failed to map segment";

pub(super) const ROWS: &[Technique] = &[
    technique("audit-library", "LD_AUDIT", "rtld-audit(7); MITRE ATT&CK T1574.006")
        .after("cp /payload/lib/libactor_payload.so /tmp/audit.so")
        .by(&["watched", RAN, REFUSED, "env", "LD_AUDIT=/tmp/audit.so", "/usr/bin/true"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/audit.so"),
    technique("library-path", "LD_LIBRARY_PATH with a library of a listed program's name", "ld.so(8); MITRE ATT&CK T1574.006")
        .after("mkdir -p /tmp/libraries; cp /payload/lib/libactor_payload.so /tmp/libraries/libselinux.so.1")
        .by(&["watched", RAN, REFUSED, "env", "LD_LIBRARY_PATH=/tmp/libraries", "/usr/bin/ls"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/libraries/libselinux.so.1"),
    technique("loader-preload", "the dynamic loader's --preload", "ld.so(8), --preload")
        .after("cp /payload/lib/libactor_payload.so /tmp/loader-preload.so")
        .by(&["watched", RAN, REFUSED, "/lib64/ld-linux-x86-64.so.2", "--preload", "/tmp/loader-preload.so", "/usr/bin/true"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/loader-preload.so"),
    technique("loader-library-path", "the dynamic loader's --library-path", "ld.so(8), --library-path")
        .after("mkdir -p /tmp/more; cp /payload/lib/libactor_payload.so /tmp/more/libselinux.so.1")
        .by(&["watched", RAN, REFUSED, "/lib64/ld-linux-x86-64.so.2", "--library-path", "/tmp/more", "/usr/bin/ls"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/more/libselinux.so.1"),
    technique("loader-audit", "the dynamic loader's --audit", "ld.so(8), --audit")
        .after("cp /payload/lib/libactor_payload.so /tmp/loader-audit.so")
        .by(&["watched", RAN, REFUSED, "/lib64/ld-linux-x86-64.so.2", "--audit", "/tmp/loader-audit.so", "/usr/bin/true"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/loader-audit.so"),
    technique("preload-file", "/etc/ld.so.preload", "ld.so(8), /etc/ld.so.preload; MITRE ATT&CK T1574.006")
        .after("cp /payload/lib/libactor_payload.so /tmp/every.so; echo /tmp/every.so > /tmp/preload; touch /etc/ld.so.preload")
        .by(&[
            "in-mount-namespace", "mount --bind /tmp/preload /etc/ld.so.preload", "watched", RAN, REFUSED, "/usr/bin/true",
        ])
        .denied(MAP, WRITTEN)
        .naming("/tmp/every.so"),
    technique("library-cache", "a cache of libraries that names a dropped one", "ldconfig(8), -C")
        .after(
            // Of the same length, since the cache's names are parts of its paths.
            "mkdir -p /tmp/cached; cp /payload/lib/libactor_payload.so /tmp/cached/libselinux.so.1; python3 -c \"\
             d = open('/etc/ld.so.cache', 'rb').read(); o = b'/lib/x86_64-linux-gnu/libselinux.so.1'; \
             n = b'/tmp/cached///////////libselinux.so.1'; assert o in d and len(o) == len(n); \
             open('/tmp/cache', 'wb').write(d.replace(o, n))\"",
        )
        .by(&["in-mount-namespace", "mount --bind /tmp/cache /etc/ld.so.cache", "watched", RAN, REFUSED, "/usr/bin/ls"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/cached/libselinux.so.1"),
    technique("listed-library-overwritten", "other content in a listed library", "MITRE ATT&CK T1574")
        .after("cat /payload/lib/libactor_payload.so > /usr/lib/x86_64-linux-gnu/libmemusage.so")
        .by(&["dlopen", "/usr/lib/x86_64-linux-gnu/libmemusage.so"])
        .denied(MAP, WRITTEN)
        .naming("/usr/lib/x86_64-linux-gnu/libmemusage.so"),
    technique("character-set-module", "a module for a character set by GCONV_PATH", "iconv(1), GCONV_PATH; CVE-2021-4034")
        .after(
            "mkdir -p /tmp/gconv; cp /payload/lib/libactor_payload.so /tmp/gconv/PAYLOAD.so; \
             echo 'module PAYLOAD// INTERNAL PAYLOAD 1' > /tmp/gconv/gconv-modules",
        )
        .by(&["watched", RAN, "iconv: failed", "env", "GCONV_PATH=/tmp/gconv", "iconv", "-f", "PAYLOAD", "-t", "UTF-8", "/dev/null"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/gconv/PAYLOAD.so"),
    technique("name-service-module", "a module of the name service", "nsswitch.conf(5); CVE-2021-3156")
        .after("mkdir -p /tmp/nss; cp /payload/lib/libactor_payload.so /tmp/nss/libnss_payload.so.2; touch /tmp/nss/ran")
        .by(&["watched", RAN, "", "env", "LD_LIBRARY_PATH=/tmp/nss", "getent", "-s", "payload", "passwd", "nobody-at-all"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/nss/libnss_payload.so.2"),
    technique("python-extension", "a dropped extension module of Python", "docs.python.org: importlib.machinery.ExtensionFileLoader")
        .after("mkdir -p /tmp/extensions; cp /payload/lib/libactor_payload.so /tmp/extensions/payload.so")
        .by(&[
            "watched", RAN, REFUSED, "env", "PYTHONPATH=/tmp/extensions", "/usr/bin/python3", "-c", "import payload",
        ])
        .denied(MAP, WRITTEN)
        .naming("/tmp/extensions/payload.so"),
    technique("perl-extension", "a dropped library by Perl's DynaLoader", "DynaLoader(3perl)")
        .after("cp /payload/lib/libactor_payload.so /tmp/perl.so")
        .by(&[
            "watched", RAN, REFUSED, "/usr/bin/perl", "-MDynaLoader", "-e",
            "DynaLoader::dl_load_file(\"/tmp/perl.so\") or die DynaLoader::dl_error()",
        ])
        .denied(MAP, WRITTEN)
        .naming("/tmp/perl.so"),
    technique("cryptography-provider", "a provider that OpenSSL's configuration names", "config(5ssl), providers; CVE-2019-1552")
        .after(
            "cp /payload/lib/libactor_payload.so /tmp/provider.so; printf '%s\\n' 'openssl_conf = a' '[a]' 'providers = b' \
             '[b]' 'payload = c' '[c]' 'module = /tmp/provider.so' 'activate = 1' > /tmp/openssl.cnf",
        )
        .by(&[
            "watched", RAN, "done", "env", "OPENSSL_CONF=/tmp/openssl.cnf", "/usr/bin/python3", "-c",
            "import _hashlib\ntry: _hashlib.new('md5')\nexcept Exception as e: print(e)\nprint('done')",
        ])
        .denied(MAP, WRITTEN)
        .naming("/tmp/provider.so"),
    technique("memory-file-by-loader", "a memory file as an argument of the dynamic loader", "memfd_create(2); ld.so(8)")
        .by(&["with-memory-file", "plain", "/usr/bin/true", "loader-exec", "@"])
        .denied(MAP, "foreign"),
    technique("memory-file-opened", "a memory file as a library", "memfd_create(2); dlopen(3); MITRE ATT&CK T1620")
        .by(&["with-memory-file", "plain", "/payload/lib/libactor_payload.so", "dlopen", "@"])
        .denied(MAP, "foreign"),
    technique("memory-file-preloaded", "a memory file by LD_PRELOAD", "memfd_create(2); ld.so(8)")
        .by(&["with-memory-file", "plain", "/payload/lib/libactor_payload.so", "preload", "@", "/usr/bin/true"])
        .denied(MAP, "foreign"),
];
