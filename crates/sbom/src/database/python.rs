//! Python distributions: what `RECORD` in a `*.dist-info` directory lists, with the digests the wheel was installed with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Collector, DatabaseDigest, DatabaseError, DatabaseKind, DatabasePackage, Malformed, PackageDatabase, lines, utf8,
};
use crate::{limits::Limits, path::components, purl::python_name};

/// One installed distribution.
#[derive(Clone, Copy, Debug)]
pub struct PythonDistribution<'a> {
    /// Name of the `*.dist-info` directory, for messages.
    pub name: &'a str,
    /// The directory that has it, relative to the image's root; `RECORD`'s paths start there.
    pub directory: &'a [u8],
    /// Content of `METADATA`.
    pub metadata: &'a [u8],
    /// Content of `RECORD`.
    pub record: &'a [u8],
}

/// Reads distributions into one database.
pub fn parse_python(
    distributions: &[PythonDistribution<'_>],
    limits: &Limits,
) -> Result<PackageDatabase, DatabaseError> {
    let mut collector = Collector::new(DatabaseKind::Python, limits);
    for distribution in distributions {
        distribution.read(&mut collector)?;
    }
    Ok(collector.database)
}

impl PythonDistribution<'_> {
    fn read(&self, collector: &mut Collector<'_>) -> Result<(), DatabaseError> {
        let (mut name, mut version) = (None, None);
        for (number, line) in lines(self.metadata) {
            let line = line.trim_ascii_end();
            // The description follows.
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix(b"Name:") {
                name = Some(python_name(utf8(value.trim_ascii(), self.name, number)?));
            } else if let Some(value) = line.strip_prefix(b"Version:") {
                version = Some(utf8(value.trim_ascii(), self.name, number)?.to_owned());
            }
        }
        let (Some(name), Some(version)) = (name, version) else {
            collector.problem(self.name, 1, Malformed::Package);
            return Ok(());
        };
        let package = collector.package(DatabasePackage { name, version, architecture: None })?;
        for (number, line) in lines(self.record).filter(|(_, line)| !line.trim_ascii().is_empty()) {
            self.record_line(line.trim_ascii_end(), number, package, collector)?;
        }
        Ok(())
    }

    /// `path,sha256=<base64>,size`; a path with a comma or quote is quoted, as in every CSV.
    fn record_line(
        &self,
        line: &[u8],
        number: usize,
        package: usize,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        let mut fields = line.rsplitn(3, |byte| *byte == b',');
        let (_size, digest, path) = (fields.next(), fields.next(), fields.next());
        let (Some(digest), Some(path)) = (digest, path) else {
            collector.problem(self.name, number, Malformed::Line);
            return Ok(());
        };
        let Some(path) = self.locate(&unquoted(path)) else {
            collector.problem(self.name, number, Malformed::Path);
            return Ok(());
        };
        let Some(path) = collector.path(&path, self.name, number).filter(|path| !path.is_empty()) else {
            return Ok(());
        };
        collector.file(path, sha256(digest), package)
    }

    /// Scripts are `../../../bin/x`, seen from the distribution. Nothing may lead out of the root.
    fn locate(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut whole: Vec<&[u8]> =
            if path.starts_with(b"/") { Vec::new() } else { components(self.directory).collect() };
        for component in components(path) {
            if component == b".." {
                whole.pop()?;
            } else {
                whole.push(component);
            }
        }
        Some(whole.join(&b'/'))
    }
}

fn unquoted(field: &[u8]) -> Vec<u8> {
    let Some(inner) = field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return field.to_vec();
    };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        text.push(*byte);
        if *byte == b'"' {
            bytes.next();
        }
    }
    text
}

/// `RECORD` itself and compiled files have none. Other algorithms are allowed, and computed by nobody.
fn sha256(field: &[u8]) -> Option<DatabaseDigest> {
    let encoded = field.strip_prefix(b"sha256=")?;
    URL_SAFE_NO_PAD.decode(encoded.trim_ascii_end()).ok()?.try_into().ok().map(DatabaseDigest::Sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_name_files_and_scripts() {
        let record = "pkg/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n\
                      ../../../bin/tool,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n\
                      \"pkg/a,\"\"b\"\".so\",,\n\
                      pkg.dist-info/RECORD,,\n\
                      ../../../../../../etc/passwd,,\n\
                      /opt/abs,md5=x,1\n\
                      what\n\n";
        let distribution = PythonDistribution {
            name: "pkg.dist-info",
            directory: b"usr/lib/python3/dist-packages",
            metadata: b"Metadata-Version: 2.1\nName: My_Pkg\nVersion: 1.0\n\nVersion: 2 of the text\n",
            record: record.as_bytes(),
        };
        let database = parse_python(&[distribution], &Limits::default()).unwrap();
        assert_eq!((database.packages[0].name.as_str(), database.packages[0].version.as_str()), ("my-pkg", "1.0"));
        let files: Vec<(&str, bool)> =
            database.files.iter().map(|file| (str::from_utf8(&file.path).unwrap(), file.digest.is_some())).collect();
        let expected = [
            ("usr/lib/python3/dist-packages/pkg/__init__.py", true),
            ("usr/bin/tool", true),
            ("usr/lib/python3/dist-packages/pkg/a,\"b\".so", false),
            ("usr/lib/python3/dist-packages/pkg.dist-info/RECORD", false),
            ("opt/abs", false),
        ];
        assert_eq!(files, expected);
        let problems: Vec<String> = database.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn a_distribution_without_a_version_is_left_out() {
        let distribution = PythonDistribution { name: "x", directory: b"", metadata: b"Name: x\n", record: b"a,,\n" };
        let database = parse_python(&[distribution], &Limits::default()).unwrap();
        assert_eq!((database.packages.len(), database.files.len(), database.problem_count), (0, 0, 1));
    }
}
