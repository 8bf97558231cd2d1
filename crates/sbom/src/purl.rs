//! The parts of a package URL that identify a package: `pkg:deb/debian/libc6@2.36-9?arch=amd64`.
//!
//! A distribution's name in the namespace identifies nothing, and generators disagree on it. With programming languages
//! the namespace is part of the name: `@scope/name`, `github.com/owner/module`, `group/artifact`.

/// Type, name, version and architecture, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purl {
    /// Lower-case type: `deb`, `apk`.
    pub(crate) kind: String,
    /// With the namespace where that is part of it; in its one spelling, where there are several.
    pub(crate) name: String,
    /// `epoch:version-release` for rpm, where the epoch is not 0.
    pub(crate) version: Option<String>,
    pub(crate) architecture: Option<String>,
}

impl Purl {
    /// `None` if `text` is not a package URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("pkg:")?.trim_start_matches('/');
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, rest) = rest.split_once('/')?;
        // The version follows the last `@`; an `@` of the name itself is percent-encoded.
        let (full_name, version) = rest.rsplit_once('@').map_or((rest, None), |(name, version)| (name, Some(version)));
        let full_name = full_name.trim_end_matches('/');
        let kind = kind.to_ascii_lowercase();
        let is_full = matches!(kind.as_str(), "npm" | "golang" | "maven" | "cargo");
        let name = if is_full { Some(full_name) } else { full_name.rsplit('/').next() };
        let name = decode(name.filter(|name| !name.is_empty())?)?;
        let qualifier = |key| qualifiers.split('&').find_map(|qualifier| qualifier.strip_prefix(key));
        let version = decode_optional(version)?;
        Some(Self {
            name: if kind == "pypi" { python_name(&name) } else { name },
            version: if kind == "rpm" {
                version.map(|version| with_epoch(version, qualifier("epoch=")))
            } else {
                version
            },
            architecture: decode_optional(qualifier("arch="))?,
            kind,
        })
    }

    /// A source package has no files in an image.
    pub(crate) fn is_source(&self) -> bool {
        matches!(self.architecture.as_deref(), Some("source" | "src"))
    }
}

/// `Foo_Bar` and `foo.bar` are one Python project, `foo-bar` (PEP 503).
pub(crate) fn python_name(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// The epoch may stand in the version or beside it.
fn with_epoch(version: String, epoch: Option<&str>) -> String {
    if let Some(rest) = version.strip_prefix("0:") {
        return rest.to_owned();
    }
    match epoch {
        Some(epoch) if epoch != "0" && !version.contains(':') => format!("{epoch}:{version}"),
        _ => version,
    }
}

/// Decodes a part that may be absent; the outer `None` says that it is there and wrong.
#[expect(clippy::option_option, reason = "absent and malformed must not be confused")]
fn decode_optional(text: Option<&str>) -> Option<Option<String>> {
    match text {
        Some(text) => decode(text).map(Some),
        None => Some(None),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            bytes.extend_from_slice(&decoded);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, String, Option<String>, Option<String>)> {
        Purl::parse(text).map(|purl| (purl.kind, purl.name, purl.version, purl.architecture))
    }

    #[test]
    fn reads_what_generators_write() {
        let expected = |kind: &str, name: &str, version: &str, arch: Option<&str>| {
            Some((kind.to_owned(), name.to_owned(), Some(version.to_owned()), arch.map(str::to_owned)))
        };
        assert_eq!(
            parts("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12"),
            expected("deb", "libstdc++6", "12.2.0-14", Some("amd64"))
        );
        assert_eq!(parts("pkg:deb/debian/tar@1%3A1.34"), expected("deb", "tar", "1:1.34", None));
        assert_eq!(parts("pkg:deb/debian/tar@1:1.34?distro=x"), expected("deb", "tar", "1:1.34", None));
        assert_eq!(parts("pkg:apk/wolfi/sed@4.9-r8#sub"), expected("apk", "sed", "4.9-r8", None));
        assert_eq!(parts("pkg:DEB/x@1"), expected("deb", "x", "1", None));
    }

    #[test]
    fn the_namespace_counts_where_it_is_part_of_the_name() {
        let name = |text| Purl::parse(text).unwrap().name;
        assert_eq!(name("pkg:npm/%40scope/name@1.0.0"), "@scope/name");
        assert_eq!(name("pkg:golang/github.com/owner/module@v1.2.3"), "github.com/owner/module");
        assert_eq!(name("pkg:maven/org.example/artifact@1"), "org.example/artifact");
        assert_eq!(name("pkg:pypi/Foo_Bar.baz@1"), "foo-bar-baz");
        assert_eq!(name("pkg:rpm/fedora/bash@5"), "bash");
    }

    #[test]
    fn rpm_epochs_stand_in_two_places() {
        let version = |text| Purl::parse(text).unwrap().version.unwrap();
        for text in
            ["pkg:rpm/x/tool@1.2-3?arch=noarch&epoch=1", "pkg:rpm/x/tool@1:1.2-3", "pkg:rpm/tool@1%3A1.2-3?epoch=1"]
        {
            assert_eq!(version(text), "1:1.2-3", "{text}");
        }
        for text in ["pkg:rpm/x/tool@1.2-3?epoch=0", "pkg:rpm/x/tool@0:1.2-3", "pkg:rpm/tool@1.2-3"] {
            assert_eq!(version(text), "1.2-3", "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_package_url() {
        for text in ["", "libc6", "pkg:deb", "pkg:deb/", "pkg:deb/debian/%zz@1", "pkg:deb/x@%ff"] {
            assert_eq!(parts(text), None, "{text}");
        }
        assert_eq!(parts("pkg:deb/x").unwrap().2, None);
    }
}
