use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, process::ExitCode};

use plimsoll_rootfs::Image;
use plimsoll_sbom::{
    EvidenceClass, ExecKind, Gap, Inventory, MissingFile, Sbom, UndeclaredPackage, inventory, undeclared_packages,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    allowlist::{OF_ANOTHER_IMAGE, is_allowed, is_of_another_image},
    image, load, print, printable, refuse,
};

/// Directories and packages shown as text; `--json` has all.
const SHOWN: usize = 20;
const KINDS: [ExecKind; 3] = [ExecKind::Elf, ExecKind::Script, ExecKind::Other];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image's unpacked root filesystem.
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
    /// The image's SBOM.
    #[arg(long, value_name = "FILE")]
    sbom: PathBuf,
    /// Weakest evidence that counts: sbom-digest, package-digest, package-path or layer-only.
    #[arg(long, value_name = "CLASS", default_value_t = EvidenceClass::PackageDigest)]
    accept: EvidenceClass,
    /// Fail unless at least this many percent of the files that could run are covered.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_under: Option<u8>,
    /// Print JSON instead of tables; `plimsoll sbom schema coverage` describes it.
    #[arg(long)]
    json: bool,
}

/// What an SBOM covers of an image, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'i> {
    accept: EvidenceClass,
    sbom_digest: String,
    /// Files that could run.
    files: usize,
    /// Those of them with accepted evidence.
    covered: usize,
    /// Files by evidence (`mismatch` where there is none), then by kind.
    evidence: BTreeMap<String, BTreeMap<String, usize>>,
    /// Every file that could run and is not covered.
    gaps: Vec<FileGap<'i>>,
    /// Files that look like code, are listed, and are not in the image. At most 1000.
    missing: &'i [MissingFile],
    /// All of them.
    missing_count: usize,
    /// Packages that the SBOM declares.
    declared_packages: usize,
    /// Packages that the image has and the SBOM does not declare.
    undeclared_packages: Vec<UndeclaredPackage>,
    problems: Vec<String>,
    #[serde(skip)]
    is_of_another_image: bool,
}

/// A file that could run and is not covered.
#[derive(Serialize, JsonSchema)]
struct FileGap<'i> {
    path: &'i str,
    kind: ExecKind,
    sha256: String,
    /// The evidence it has; none if its content contradicts what is declared.
    evidence: Option<EvidenceClass>,
    /// What is wrong. Nothing if its evidence is only too weak for `accept`.
    gap: Option<&'i Gap>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sbom = match load(&arguments.sbom)? {
        Ok(sbom) => sbom,
        Err(error) => return Ok(refuse(&arguments.sbom, &error)),
    };
    let image = image::index(&arguments.rootfs)?;
    let inventory = inventory(&image.listing, &sbom, &image.databases);
    let report = Report::new(arguments.accept, &inventory, &sbom, &image);
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? };
    print(&text)?;
    let enough = arguments.fail_under.is_none_or(|percent| report.reaches(percent));
    if !enough && !arguments.json {
        eprintln!(
            "plimsoll: {:.1} % covered, less than the {} % asked for",
            report.percent(),
            arguments.fail_under.unwrap_or_default()
        );
    }
    Ok(if enough && inventory.coverage.mismatch == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl<'i> Report<'i> {
    pub(super) fn new(accept: EvidenceClass, inventory: &'i Inventory, sbom: &Sbom, image: &Image) -> Self {
        let mut evidence: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for file in &inventory.files {
            let class = file.evidence.map_or("mismatch", EvidenceClass::name).to_owned();
            *evidence.entry(class).or_default().entry(file.kind.to_string()).or_default() += 1;
        }
        let gaps = inventory.files.iter().filter(|file| !is_allowed(file, accept)).map(|file| FileGap {
            path: &file.path,
            kind: file.kind,
            sha256: file.sha256.to_string(),
            evidence: file.evidence,
            gap: file.gap.as_ref(),
        });
        Self {
            accept,
            sbom_digest: inventory.sbom_digest.to_string(),
            files: inventory.coverage.files,
            covered: inventory.coverage.accepted(accept),
            evidence,
            gaps: gaps.collect(),
            missing: &inventory.missing,
            missing_count: inventory.coverage.missing,
            declared_packages: sbom.packages.len(),
            undeclared_packages: undeclared_packages(sbom, &image.databases),
            is_of_another_image: is_of_another_image(inventory),
            problems: image.problems.iter().map(ToString::to_string).collect(),
        }
    }

    /// In whole numbers, so that 100 means every file.
    fn reaches(&self, percent: u8) -> bool {
        self.covered * 100 >= self.files * usize::from(percent)
    }

    #[expect(clippy::cast_precision_loss, reason = "for people; `reaches` decides")]
    fn percent(&self) -> f64 {
        if self.files == 0 { 100.0 } else { self.covered as f64 * 100.0 / self.files as f64 }
    }

    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(
            text,
            "{} of {} files that could run are covered ({:.1} %), by evidence {} or stronger\n",
            self.covered,
            self.files,
            self.percent(),
            self.accept
        )?;
        self.classes(&mut text)?;
        self.gaps_by_directory(&mut text)?;
        self.contradictions(&mut text)?;
        self.missing_files(&mut text)?;
        self.packages(&mut text)?;
        if self.is_of_another_image {
            writeln!(text, "note: {OF_ANOTHER_IMAGE}")?;
        }
        for problem in &self.problems {
            writeln!(text, "note: {}", printable(problem))?;
        }
        Ok(text)
    }

    fn classes(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "{:<16}{:>8}{:>8}{:>8}{:>8}", "evidence", "elf", "script", "other", "all")?;
        let classes = EvidenceClass::ALL.into_iter().rev().map(|class| (class.name(), class >= self.accept));
        for (class, counts) in classes.chain([("mismatch", false)]) {
            let by_kind = self.evidence.get(class);
            let count =
                |kind: ExecKind| by_kind.and_then(|kinds| kinds.get(&kind.to_string())).copied().unwrap_or_default();
            let [elf, script, other] = KINDS.map(count);
            let note = if counts { "" } else { "  not covered" };
            writeln!(text, "{class:<16}{elf:>8}{script:>8}{other:>8}{:>8}{note}", elf + script + other)?;
        }
        Ok(())
    }

    /// Gaps come in heaps: a directory of package scripts, a directory somebody copied in.
    fn gaps_by_directory(&self, text: &mut String) -> std::fmt::Result {
        let mut directories: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for gap in self.gaps.iter().filter(|gap| gap.evidence.is_some()) {
            let directory = gap.path.rsplit_once('/').map_or("/", |(directory, _)| directory);
            directories.entry(directory).or_default().push(gap.path);
        }
        if directories.is_empty() {
            return Ok(());
        }
        let mut heaps: Vec<_> = directories.into_iter().collect();
        heaps.sort_by_key(|(directory, paths)| (std::cmp::Reverse(paths.len()), *directory));
        writeln!(text, "\nNot covered, by directory:")?;
        for (directory, paths) in heaps.iter().take(SHOWN) {
            match paths.as_slice() {
                [path] => writeln!(text, "{:>7}  {path}", 1)?,
                _ => writeln!(text, "{:>7}  {directory}/", paths.len())?,
            }
        }
        more(text, heaps.len(), "directories")
    }

    fn contradictions(&self, text: &mut String) -> std::fmt::Result {
        for gap in &self.gaps {
            if let Some(Gap::Mismatch { expected, by }) = gap.gap {
                writeln!(text, "\n{}: content is not what the {by} declares", gap.path)?;
                writeln!(text, "  declared {expected}\n  found    {}", gap.sha256)?;
            }
        }
        Ok(())
    }

    fn missing_files(&self, text: &mut String) -> std::fmt::Result {
        if self.missing_count == 0 {
            return Ok(());
        }
        writeln!(text, "\nListed, but not in the image: {}", self.missing_count)?;
        for file in self.missing.iter().take(SHOWN) {
            writeln!(text, "  {}", file.path)?;
        }
        more(text, self.missing_count, "files")
    }

    fn packages(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nThe SBOM declares {} packages.", self.declared_packages)?;
        if self.undeclared_packages.is_empty() {
            return Ok(());
        }
        writeln!(text, "Installed and not declared: {}", self.undeclared_packages.len())?;
        for package in self.undeclared_packages.iter().take(SHOWN) {
            let UndeclaredPackage { database, name, version, files } = package;
            writeln!(text, "  {database:<7} {} ({files} files)", printable(&format!("{name} {version}")))?;
        }
        more(text, self.undeclared_packages.len(), "packages")
    }
}

fn more(text: &mut String, all: usize, what: &str) -> std::fmt::Result {
    match all.checked_sub(SHOWN) {
        Some(more) if more > 0 => writeln!(text, "  ... and {more} more {what}; `--json` has all"),
        _ => Ok(()),
    }
}
