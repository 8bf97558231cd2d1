use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use plimsoll_sbom::{Format, RejectedPaths, Sbom, Sha256, Statement, Wrapping};
use schemars::JsonSchema;
use serde::Serialize;

use super::{load, print, printable, refuse};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// SPDX, CycloneDX or Syft document, bare or in an in-toto statement, DSSE envelope or sigstore bundle; told apart
    /// by content. Signatures are not checked.
    file: PathBuf,
    /// Print JSON instead of text; `plimsoll sbom schema inspect` describes it.
    #[arg(long)]
    json: bool,
}

/// Subjects of a statement shown as text; `--json` has all.
const MAX_SUBJECTS: usize = 10;

/// What a document contains, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'s> {
    format: Format,
    spec_version: &'s str,
    name: &'s str,
    generator: Option<&'s str>,
    digest: Sha256,
    wrapped_in: &'s [Wrapping],
    statement: Option<&'s Statement>,
    packages: usize,
    packages_with_purl: usize,
    files: FileCounts,
    rejected_paths: &'s RejectedPaths,
}

#[derive(Serialize, JsonSchema)]
struct FileCounts {
    total: usize,
    with_sha256: usize,
    only_weaker_digest: usize,
    without_digest: usize,
    tied_to_a_package: usize,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sbom = match load(&arguments.file)? {
        Ok(sbom) => sbom,
        Err(error) => return Ok(refuse(&arguments.file, &error)),
    };
    let report = Report::of(&sbom);
    if arguments.json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        print(&report.text()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The report as JSON.
#[cfg(test)]
pub(super) fn json(sbom: &Sbom) -> serde_json::Value {
    serde_json::to_value(Report::of(sbom)).unwrap_or_default()
}

/// The report as text.
#[cfg(test)]
pub(super) fn text(sbom: &Sbom) -> Result<String, std::fmt::Error> {
    Report::of(sbom).text()
}

impl<'s> Report<'s> {
    fn of(sbom: &'s Sbom) -> Self {
        let count =
            |test: &dyn Fn(&plimsoll_sbom::SbomFile) -> bool| sbom.files.iter().filter(|file| test(file)).count();
        let with_sha256 = count(&|file| file.digests.sha256.is_some());
        let without_digest = count(&|file| file.digests.is_empty());
        Self {
            format: sbom.format,
            spec_version: &sbom.spec_version,
            name: &sbom.name,
            generator: sbom.generator.as_deref(),
            digest: sbom.digest,
            wrapped_in: &sbom.wrappings,
            statement: sbom.statement.as_ref(),
            packages: sbom.packages.len(),
            packages_with_purl: sbom.packages.iter().filter(|package| package.purl.is_some()).count(),
            files: FileCounts {
                total: sbom.files.len(),
                with_sha256,
                only_weaker_digest: sbom.files.len() - with_sha256 - without_digest,
                without_digest,
                tied_to_a_package: count(&|file| file.package.is_some()),
            },
            rejected_paths: &sbom.rejected,
        }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "format      {} {}", self.format, printable(self.spec_version))?;
        writeln!(
            text,
            "describes   {}",
            if self.name.is_empty() { "(not stated)".into() } else { printable(self.name) }
        )?;
        writeln!(text, "written by  {}", self.generator.map_or_else(|| "(not stated)".into(), printable))?;
        writeln!(text, "digest      {}", self.digest)?;
        self.wrapping(&mut text)?;
        writeln!(text, "packages    {}, {} of them with a package URL", self.packages, self.packages_with_purl)?;
        let files = &self.files;
        writeln!(text, "files       {}", files.total)?;
        if files.total > 0 {
            writeln!(text, "            {} with SHA-256", files.with_sha256)?;
            writeln!(text, "            {} with SHA-1 or MD5 only", files.only_weaker_digest)?;
            writeln!(text, "            {} without a digest", files.without_digest)?;
            writeln!(text, "            {} tied to a package", files.tied_to_a_package)?;
        }
        if self.rejected_paths.count > 0 {
            let examples = self.rejected_paths.examples.join(", ");
            writeln!(
                text,
                "left out    {}, because no file of an image can have such a path: {examples}",
                self.rejected_paths.count
            )?;
        }
        writeln!(text, "evidence    {}", self.evidence())?;
        Ok(text)
    }

    fn wrapping(&self, text: &mut String) -> std::fmt::Result {
        if !self.wrapped_in.is_empty() {
            let wrappings: Vec<String> = self.wrapped_in.iter().map(ToString::to_string).collect();
            writeln!(text, "wrapped in  {}; signatures were not checked", wrappings.join(", "))?;
        }
        let Some(statement) = self.statement else { return Ok(()) };
        writeln!(text, "predicate   {}", printable(&statement.predicate_type))?;
        for subject in statement.subjects.iter().take(MAX_SUBJECTS) {
            let name = if subject.name.is_empty() { "(no name)".into() } else { printable(&subject.name) };
            let digest = subject.sha256().map_or_else(|| "(no SHA-256)".into(), |digest| digest.to_string());
            writeln!(text, "subject     {digest} {name}")?;
        }
        let more = statement.subjects.len().saturating_sub(MAX_SUBJECTS);
        if more > 0 { writeln!(text, "            and {more} more") } else { Ok(()) }
    }

    /// What a policy can ask for under this document.
    fn evidence(&self) -> &'static str {
        let files = &self.files;
        match (files.with_sha256 > 0, self.packages > 0) {
            (true, true) => {
                "sbom-digest for the files with SHA-256; package-digest or package-path for other files of listed \
                 packages, by the image's package database"
            }
            (true, false) => "sbom-digest for the files with SHA-256; the document lists no packages",
            (false, true) => {
                "package-digest or package-path for files of listed packages, by the image's package database; \
                 never sbom-digest: ask the image's builder for an SBOM that lists files with SHA-256"
            }
            (false, false) if files.only_weaker_digest > 0 => "package-digest for the files with SHA-1 or MD5",
            (false, false) => "none: the document lists neither packages nor files with digests",
        }
    }
}
