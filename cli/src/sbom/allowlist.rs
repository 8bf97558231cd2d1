use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use plimsoll_sbom::{EvidenceClass, Gap, Inventory, InventoryFile, PackageRef};
use schemars::JsonSchema;
use serde::Serialize;

use super::{image, load, print, printable, refuse};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image's unpacked root filesystem.
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
    /// The image's SBOM.
    #[arg(long, value_name = "FILE")]
    sbom: PathBuf,
    /// Weakest evidence to accept: sbom-digest, package-digest, package-path or layer-only.
    #[arg(long, value_name = "CLASS", default_value_t = EvidenceClass::PackageDigest)]
    accept: EvidenceClass,
    /// Print JSON instead of tables; `plimsoll sbom schema allowlist` describes it.
    #[arg(long)]
    json: bool,
}

/// The inventory as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'i> {
    accept: EvidenceClass,
    #[serde(flatten)]
    inventory: &'i Inventory,
    /// Paths of `files` that may run.
    allowed: Vec<&'i str>,
    problems: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sbom = match load(&arguments.sbom)? {
        Ok(sbom) => sbom,
        Err(error) => return Ok(refuse(&arguments.sbom, &error)),
    };
    let image = image::index(&arguments.rootfs)?;
    let inventory = plimsoll_sbom::inventory(&image.listing, &sbom, &image.databases);
    let problems = image.problems.iter().map(ToString::to_string).collect();
    let report = Report::new(arguments.accept, &inventory, problems);
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? };
    print(&text)?;
    let empty = report.allowed.is_empty() && !inventory.files.is_empty();
    Ok(if empty || inventory.coverage.mismatch > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The report as JSON, under the evidence policies accept by default.
#[cfg(test)]
pub(super) fn json(inventory: &Inventory) -> serde_json::Value {
    serde_json::to_value(Report::new(EvidenceClass::PackageDigest, inventory, Vec::new())).unwrap_or_default()
}

/// The report as text, under the evidence policies accept by default.
#[cfg(test)]
pub(super) fn text(inventory: &Inventory) -> Result<String, std::fmt::Error> {
    Report::new(EvidenceClass::PackageDigest, inventory, vec!["a note".into()]).text()
}

/// What to say where [`is_of_another_image`].
pub(crate) const OF_ANOTHER_IMAGE: &str = "the SBOM does not fit the image's files; is it the SBOM of this image?";

/// Whether the SBOM, with the packages that it declares, contradicts more files than it accounts for, or accounts for none.
pub(crate) fn is_of_another_image(inventory: &Inventory) -> bool {
    let coverage = &inventory.coverage;
    let accounted = coverage.accepted(EvidenceClass::PackagePath);
    coverage.files > 0 && (accounted == 0 || accounted < coverage.mismatch)
}

pub(super) fn is_allowed(file: &InventoryFile, weakest: EvidenceClass) -> bool {
    file.evidence.is_some_and(|evidence| evidence >= weakest)
}

impl<'i> Report<'i> {
    fn new(accept: EvidenceClass, inventory: &'i Inventory, problems: Vec<String>) -> Self {
        let allowed = inventory.files.iter().filter(|file| is_allowed(file, accept)).map(|file| &*file.path).collect();
        Self { accept, inventory, allowed, problems }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let (allowed, refused): (Vec<_>, Vec<_>) =
            self.inventory.files.iter().partition(|file| is_allowed(file, self.accept));
        writeln!(text, "May run: {} files with evidence {} or stronger", allowed.len(), self.accept)?;
        table(&mut text, &allowed)?;
        if !refused.is_empty() {
            writeln!(text, "\nMay not run: {} files", refused.len())?;
            table(&mut text, &refused)?;
        }
        self.contradictions(&mut text)?;
        self.missing(&mut text)?;
        self.summary(&mut text)?;
        Ok(text)
    }

    fn contradictions(&self, text: &mut String) -> std::fmt::Result {
        for file in &self.inventory.files {
            if let Some(Gap::Mismatch { expected, by }) = &file.gap {
                writeln!(text, "\n{}: content is not what the {by} declares", file.path)?;
                writeln!(text, "  declared {expected}\n  found    {}", file.sha256)?;
            }
        }
        Ok(())
    }

    fn missing(&self, text: &mut String) -> std::fmt::Result {
        if self.inventory.missing.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nListed, but not in the image: {}", self.inventory.coverage.missing)?;
        for file in &self.inventory.missing {
            writeln!(text, "  {}  {}", file.path, package(file.package.as_ref()))?;
        }
        Ok(())
    }

    fn summary(&self, text: &mut String) -> std::fmt::Result {
        let coverage = &self.inventory.coverage;
        writeln!(text, "\nSBOM {}", self.inventory.sbom_digest)?;
        writeln!(text, "{:>7} files can run", coverage.files)?;
        for class in EvidenceClass::ALL.into_iter().rev() {
            let accepted = if class >= self.accept { "accepted" } else { "not accepted" };
            writeln!(text, "{:>7} {class:<14} {accepted}", coverage.count(class))?;
        }
        writeln!(text, "{:>7} {:<14} never accepted", coverage.mismatch, "mismatch")?;
        if is_of_another_image(self.inventory) {
            writeln!(text, "note: {OF_ANOTHER_IMAGE}")?;
        }
        for problem in &self.problems {
            writeln!(text, "note: {}", printable(problem))?;
        }
        Ok(())
    }
}

fn table(text: &mut String, files: &[&InventoryFile]) -> std::fmt::Result {
    let width = files.iter().map(|file| file.path.chars().count()).max().unwrap_or_default().min(72);
    for file in files {
        let digest: String = file.sha256.hex().chars().take(12).collect();
        let evidence = file.evidence.map_or("mismatch", EvidenceClass::name);
        let package = package(file.package.as_ref());
        writeln!(text, "  {:<width$}  {digest}  {evidence:<14}  {package}", file.path)?;
    }
    Ok(())
}

pub(super) fn package(package: Option<&PackageRef>) -> String {
    package.map_or_else(|| "-".into(), |package| printable(format!("{} {}", package.name, package.version).trim_end()))
}
