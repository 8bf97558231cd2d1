use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, process::ExitCode};

use plimsoll_sbom::{Changes, EvidenceClass, PackageRef, Sbom, SbomError, Sha256, Side, inventory};
use schemars::JsonSchema;
use serde::Serialize;

use super::{allowlist::package, image, load, print, printable, refuse};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// SBOM of the image that runs now.
    before: PathBuf,
    /// SBOM of the image that is to be rolled out.
    after: PathBuf,
    /// Root filesystem of the image that runs now. With both, what could really run is compared, package databases
    /// included; without, every file that the documents list with a digest.
    #[arg(long, value_name = "DIR", requires = "rootfs_after")]
    rootfs_before: Option<PathBuf>,
    /// Root filesystem of the image that is to be rolled out.
    #[arg(long, value_name = "DIR", requires = "rootfs_before")]
    rootfs_after: Option<PathBuf>,
    /// Weakest evidence to accept: sbom-digest, package-digest, package-path or layer-only.
    #[arg(long, value_name = "CLASS", default_value_t = EvidenceClass::PackageDigest)]
    accept: EvidenceClass,
    /// Print JSON instead of tables; `plimsoll sbom schema diff` describes it.
    #[arg(long)]
    json: bool,
}

/// What a rollout changes, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'c> {
    accept: EvidenceClass,
    /// SHA-256 of the SBOMs compared.
    before: Sha256,
    after: Sha256,
    /// Whether root filesystems were compared, and not only documents.
    with_images: bool,
    #[serde(flatten)]
    changes: &'c Changes,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (before, after) = (load(&arguments.before)?, load(&arguments.after)?);
    let wrong = |path: &PathBuf, error: &SbomError| Ok(refuse(path, error));
    let (before, after) = match (before, after) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(error), _) => return wrong(&arguments.before, &error),
        (_, Err(error)) => return wrong(&arguments.after, &error),
    };
    let side = |sbom: &Sbom, rootfs: Option<&PathBuf>| -> anyhow::Result<Side> {
        let Some(rootfs) = rootfs else { return Ok(Side::of_document(sbom, arguments.accept)) };
        let image = image::index(rootfs)?;
        let inventory = inventory(&image.listing, sbom, &image.databases);
        for problem in &image.problems {
            eprintln!("plimsoll: {}: {}", rootfs.display(), printable(&problem.to_string()));
        }
        Ok(Side::of_image(&inventory, sbom, arguments.accept))
    };
    let changes = Changes::between(
        &side(&before, arguments.rootfs_before.as_ref())?,
        &side(&after, arguments.rootfs_after.as_ref())?,
    );
    let report = Report {
        accept: arguments.accept,
        before: before.digest,
        after: after.digest,
        with_images: arguments.rootfs_before.is_some(),
        changes: &changes,
    };
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? };
    print(&text)?;
    Ok(if report.nothing_changes() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Report<'_> {
    /// The report of two documents alone.
    #[cfg(test)]
    pub(super) fn of_documents<'c>(before: &Sbom, after: &Sbom, changes: &'c Changes) -> Report<'c> {
        let accept = EvidenceClass::PackageDigest;
        Report { accept, before: before.digest, after: after.digest, with_images: false, changes }
    }

    /// Where only packages are listed, theirs are the files that may run: a package that changed changes those.
    pub(super) fn nothing_changes(&self) -> bool {
        self.changes.is_empty() && (self.with_images || !self.packages_alone() || self.changes.packages.is_empty())
    }

    /// Whether one of the documents gives no file any evidence by itself.
    fn packages_alone(&self) -> bool {
        let Changes { newly_allowed, no_longer_allowed, replaced, unchanged, .. } = self.changes;
        let both = unchanged + replaced.len();
        both + newly_allowed.len() == 0 || both + no_longer_allowed.len() == 0
    }

    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.gained(&mut text)?;
        self.replaced(&mut text)?;
        self.lost(&mut text)?;
        if !self.changes.packages.is_empty() {
            writeln!(text, "Packages: {}", self.changes.packages.len())?;
            for package in &self.changes.packages {
                let versions = change(&package.before, &package.after);
                writeln!(text, "  {}  {}", printable(&package.name), printable(&versions))?;
            }
            writeln!(text)?;
        }
        let what = if self.with_images { "files that can run" } else { "files that the documents list" };
        writeln!(text, "Unchanged: {} {what}, with evidence {} or stronger", self.changes.unchanged, self.accept)?;
        self.note(&mut text)?;
        Ok(text)
    }

    /// What documents alone cannot tell.
    fn note(&self, text: &mut String) -> std::fmt::Result {
        if self.with_images {
            return Ok(());
        }
        let why = if self.packages_alone() {
            "without files with digests, only packages are compared, and any that changed counts"
        } else {
            "documents do not say which of the files could run"
        };
        writeln!(text, "note: {why}; --rootfs-before and --rootfs-after compare what could")
    }

    fn gained(&self, text: &mut String) -> std::fmt::Result {
        let files = &self.changes.newly_allowed;
        if files.is_empty() {
            return Ok(());
        }
        writeln!(text, "Newly allowed: {}", files.len())?;
        for file in files {
            let before = file.before.as_deref().map(|reason| format!("  (before: {reason})")).unwrap_or_default();
            let content = short(&file.content);
            writeln!(text, "  {}  {content}  {}{before}", file.path, package(file.package.as_ref()))?;
        }
        writeln!(text)
    }

    fn replaced(&self, text: &mut String) -> std::fmt::Result {
        let files = &self.changes.replaced;
        if files.is_empty() {
            return Ok(());
        }
        writeln!(text, "Allowed with other content: {}", files.len())?;
        for file in files {
            let packages = owners(file.package_before.as_ref(), file.package_after.as_ref());
            writeln!(text, "  {}  {} -> {}  {packages}", file.path, short(&file.before), short(&file.after))?;
        }
        writeln!(text)
    }

    fn lost(&self, text: &mut String) -> std::fmt::Result {
        let files = &self.changes.no_longer_allowed;
        if files.is_empty() {
            return Ok(());
        }
        writeln!(text, "No longer allowed: {}", files.len())?;
        for file in files {
            let after = file.after.as_deref().unwrap_or("it is not there");
            writeln!(text, "  {}  {}  (after: {after})", file.path, package(file.package.as_ref()))?;
        }
        writeln!(text)
    }
}

/// `1.0 -> 1.1`, with words where there is nothing.
fn change(before: &BTreeSet<String>, after: &BTreeSet<String>) -> String {
    let versions = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (old, new) = (versions(before), versions(after));
    match (before.is_empty(), after.is_empty()) {
        (true, _) if new.is_empty() => "new".to_owned(),
        (true, _) => format!("new: {new}"),
        (_, true) if old.is_empty() => "gone".to_owned(),
        (_, true) => format!("gone: {old}"),
        _ => format!("{old} -> {new}"),
    }
}

fn owners(before: Option<&PackageRef>, after: Option<&PackageRef>) -> String {
    let (before, after) = (package(before), package(after));
    if before == after { after } else { format!("{before} -> {after}") }
}

/// The first digest's first twelve digits.
fn short(content: &BTreeSet<String>) -> String {
    let first = content.iter().next().map(String::as_str).unwrap_or_default();
    let digits: String = first.rsplit(':').next().unwrap_or_default().chars().take(12).collect();
    if content.len() > 1 { format!("{digits} and {} more", content.len() - 1) } else { digits }
}
