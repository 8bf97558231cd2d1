//! `cargo xtask image`: the images of deploy/image/Dockerfile, made without a container engine, twice, and compared.
//!
//! `target/image/agent` and `target/image/collector` are OCI layouts with one image each, tag `latest`, and an SBOM beside: `NAME.cdx.json`. Two
//! runs on one checkout give the same bytes, compilation apart: whether two compilations do is the compiler's promise, and `--twice`
//! asks it.

mod layout;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build, pins, setup,
    step::{self, Step},
    workspace::Workspace,
};

use layout::Image;

/// Authorities of the machine that builds, for registries and receivers.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Whom the collector runs as.
const NOBODY: &str = "65532:65532";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Compile a second time, from nothing, and compare the programs; takes twice as long
    #[arg(long)]
    twice: bool,
}

/// Name, programs, and user of each image; the first program is what it runs.
const IMAGES: [(&str, &[&str], &str); 2] =
    [("agent", &["plimsoll-agent", "plimsoll-node", "plimsoll"], ""), ("collector", &["plimsoll-collector"], NOBODY)];

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::run_for_images(workspace)?;
    let object = build::kernel_programs(workspace)?;
    let programs = compile(workspace, &object, workspace.target())?;
    if arguments.twice {
        let again = tempfile::Builder::new().prefix("again-").tempdir_in(workspace.target())?;
        let second = compile(workspace, &object, again.path())?;
        for program in IMAGES.iter().flat_map(|(_, programs, _)| *programs) {
            ensure!(
                fs::read(programs.join(program))? == fs::read(second.join(program))?,
                "two compilations of {program} differ"
            );
        }
        println!("{:>10}  programs: the same bytes from two compilations", "same");
    }
    step::heading("images");
    for (name, programs_of, user) in IMAGES {
        image(workspace, &programs, name, programs_of, user)?;
    }
    Ok(())
}

/// Static, stripped, and without this machine's paths. Answers where the programs are.
fn compile(workspace: &Workspace, object: &Path, target: &Path) -> Result<PathBuf> {
    let mut cargo = build::cargo(workspace, "build", object);
    cargo.args(["--release", "--bins", "--target", pins::IMAGE_TARGET]);
    cargo.args(
        ["plimsoll-agent", "plimsoll-collector", "plimsoll-cli", "plimsoll-node"]
            .into_iter()
            .flat_map(|name| ["-p", name]),
    );
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let flags = format!(
        "--remap-path-prefix={}=/plimsoll --remap-path-prefix={}=/cargo",
        workspace.root().display(),
        home.display()
    );
    cargo
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", flags)
        .env("CC_x86_64_unknown_linux_musl", "musl-gcc");
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_TARGET_DIR", target);
    step::shown("build static programs", &mut cargo)?;
    Ok(target.join(pins::IMAGE_TARGET).join("release"))
}

/// Packs an image twice, compares, and has others read it.
fn image(workspace: &Workspace, programs: &Path, name: &str, of: &[&str], user: &str) -> Result<()> {
    let directory = workspace.target().join("image");
    fs::create_dir_all(&directory)?;
    let step = Step::start(format!("image {name}"));
    let scratch = tempfile::Builder::new().prefix("image-").tempdir_in(&directory)?;
    let root = scratch.path().join("root");
    fill(&root, programs, of)?;
    let image = Image { entrypoint: format!("/usr/bin/{}", of.first().context("no program")?), user: user.to_owned() };
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    let digest = image.pack(&root, &first)?;
    ensure!(image.pack(&root, &second)? == digest, "two images of the same files differ");
    step::quietly(Command::new("diff").arg("--recursive").args([&first, &second]))?;
    let seen = step::output(
        Command::new("skopeo")
            .args(["inspect", "--format", "{{.Digest}}"])
            .arg(format!("oci:{}:latest", first.display())),
    )?;
    ensure!(seen.trim() == digest, "skopeo sees {}, not {digest}", seen.trim());
    starts(&first, scratch.path(), of)?;
    let place = directory.join(name);
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    fs::rename(&first, &place)?;
    let sbom = directory.join(format!("{name}.cdx.json"));
    let packages = sbom_of(workspace, &root, &sbom)?;
    step.done("packed");
    println!("{:>10}  {name} {digest}: twice the same bytes; SBOM of {packages} packages", "is");
    Ok(())
}

/// The image's files.
fn fill(root: &Path, programs: &Path, of: &[&str]) -> Result<()> {
    let (bin, certificates) = (root.join("usr/bin"), root.join("etc/ssl/certs"));
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&certificates)?;
    for program in of {
        fs::copy(programs.join(program), bin.join(program)).with_context(|| format!("cannot copy {program}"))?;
    }
    fs::copy(AUTHORITIES, certificates.join("ca-certificates.crt"))
        .with_context(|| format!("cannot copy {AUTHORITIES}"))?;
    Ok(())
}

/// Has umoci unpack the image, and every program in it start with nothing else around it.
fn starts(layout: &Path, scratch: &Path, of: &[&str]) -> Result<()> {
    let bundle = scratch.join("bundle");
    step::quietly(
        Command::new("umoci").args(["unpack", "--image", &format!("{}:latest", layout.display())]).arg(&bundle),
    )?;
    for program in of {
        let mut run = Command::new("chroot");
        let said = step::output(run.arg(bundle.join("rootfs")).arg(format!("/usr/bin/{program}")).arg("--version"))?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{program} calls itself `{}`", said.trim());
    }
    Ok(())
}

/// Writes what is in an image: its files, and the packages that its programs are built of. Answers how many.
fn sbom_of(workspace: &Workspace, root: &Path, file: &Path) -> Result<usize> {
    // Programs do not say what they were built of; the lock file that they were built by does.
    fs::copy(workspace.root().join("Cargo.lock"), root.join("Cargo.lock"))?;
    let mut syft = Command::new(workspace.tools().join("bin/syft"));
    syft.env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "--quiet"]).arg(format!("dir:{}", root.display()));
    syft.arg("--base-path").arg(root).arg("--output").arg(format!("cyclonedx-json={}", file.display()));
    step::quietly(&mut syft)?;
    let document: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
    let components = document.get("components").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    let components = components.iter().filter(|component| component.get("purl").is_some()).count();
    ensure!(components > 100, "the SBOM knows {components} packages");
    Ok(components)
}
