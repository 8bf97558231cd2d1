//! The parts of a package URL that identify an operating system's package: `pkg:deb/debian/libc6@2.36-9?arch=amd64`.

/// Type, name, version and architecture, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purl {
    /// Lower-case type: `deb`, `apk`.
    pub(crate) kind: String,
    pub(crate) name: String,
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
        let name = full_name.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty())?;
        let architecture = qualifiers.split('&').find_map(|qualifier| qualifier.strip_prefix("arch="));
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            name: decode(name)?,
            version: decode_optional(version)?,
            architecture: decode_optional(architecture)?,
        })
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
    fn refuses_what_is_no_package_url() {
        for text in ["", "libc6", "pkg:deb", "pkg:deb/", "pkg:deb/debian/%zz@1", "pkg:deb/x@%ff"] {
            assert_eq!(parts(text), None, "{text}");
        }
        assert_eq!(parts("pkg:deb/x").unwrap().2, None);
    }
}
