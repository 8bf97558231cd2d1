use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use plimsoll_sbom::Sha256;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    print, printable,
    source::{RegistryArguments, image},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image: REPOSITORY@sha256:...
    image: String,
    /// Write each document into this directory, as <digest>.json.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What is attached to an image, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    image: Sha256,
    from: String,
    subjects: Vec<Sha256>,
    documents: Vec<Line>,
}

#[derive(Serialize, JsonSchema)]
struct Line {
    place: String,
    digest: Sha256,
    media_type: String,
    size: usize,
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let image = image(&arguments.image)?;
    let found = arguments.registry.documents(&image, &[])?;
    let mut report = Report { image: image.digest, from: found.from, subjects: found.subjects, documents: Vec::new() };
    if let Some(directory) = &arguments.output {
        fs::create_dir_all(directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    }
    for document in found.all {
        let file = arguments.output.as_ref().map(|directory| directory.join(format!("{}.json", document.digest.hex())));
        if let Some(file) = &file {
            fs::write(file, &document.bytes).with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        let (place, digest, media_type) = (document.place, document.digest, document.media_type);
        report.documents.push(Line { place, digest, media_type, size: document.bytes.len(), file });
    }
    print(&if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? })?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{} has {} documents for {}", self.from, self.documents.len(), self.image)?;
        for subject in self.subjects.iter().filter(|subject| **subject != self.image) {
            writeln!(text, "also known as {subject}")?;
        }
        for line in &self.documents {
            let digest: String = line.digest.hex().chars().take(12).collect();
            writeln!(text, "  {:<16}  {digest}  {:>9}  {}", line.place, line.size, printable(&line.media_type))?;
        }
        Ok(text)
    }
}
