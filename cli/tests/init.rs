//! `plimsoll policy init` over a root filesystem made of this machine's own packages, with their dpkg database.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

fn plimsoll(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with `rootfs`, `sbom.json` and `config.json`: dash and all that it loads, from the packages `dash` and `libc6`.
struct Image(tempfile::TempDir);

impl Image {
    fn new() -> Self {
        let image = Self(tempfile::tempdir().unwrap());
        for name in ["bin", "lib", "lib64"] {
            fs::create_dir_all(image.path(&format!("usr/{name}"))).unwrap();
            symlink(format!("usr/{name}"), image.path(name)).unwrap();
        }
        for word in output("ldd", &["/bin/dash"]).split_whitespace().chain(["/bin/dash"]) {
            if word.starts_with('/') {
                image.copy(word);
            }
        }
        image.database();
        image.write("entry.sh", "#!/bin/dash\nexec \"$@\"\n");
        image.write("opt/cart/tool", "#!/bin/dash\n");
        fs::copy(image.path("usr/bin/dash"), image.path("opt/cart/extra")).unwrap();
        let config = json!({"config": {"Entrypoint": ["/entry.sh"], "Cmd": ["dash"], "Env": ["PATH=/usr/bin:/bin"]}});
        fs::write(image.0.path().join("config.json"), config.to_string()).unwrap();
        image.sbom(&["dash", "libc6"]);
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("rootfs").join(path)
    }

    fn copy(&self, from: &str) {
        let real = fs::canonicalize(from).unwrap();
        let to = self.path(real.strip_prefix("/").unwrap().to_str().unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&real, &to).unwrap();
        // The name that led to it is a link there too.
        let name = Path::new(from).file_name().unwrap();
        let link = fs::canonicalize(Path::new(from).parent().unwrap()).unwrap().join(name);
        if link != real {
            let link = self.path(link.strip_prefix("/").unwrap().to_str().unwrap());
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&real, link).unwrap();
        }
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// dpkg's own records of both packages, with digests of all their files.
    fn database(&self) {
        fs::create_dir_all(self.path("var/lib/dpkg/info")).unwrap();
        let status = output("dpkg-query", &["--status", "dash", "libc6"]);
        fs::write(self.path("var/lib/dpkg/status"), status).unwrap();
        for name in ["dash", "libc6:amd64"] {
            for kind in ["list", "md5sums"] {
                let file = format!("var/lib/dpkg/info/{name}.{kind}");
                fs::copy(Path::new("/").join(&file), self.path(&file)).unwrap();
            }
        }
    }

    /// An SBOM that lists packages and no files.
    fn sbom(&self, packages: &[&str]) {
        let version = |name: &str| output("dpkg-query", &["--show", "--showformat=${Version}", name]);
        let component = |name: &&str| {
            let purl = format!("pkg:deb/debian/{name}@{}?arch=amd64", version(name));
            json!({"type": "library", "name": name, "version": version(name), "purl": purl})
        };
        let components: Vec<_> = packages.iter().map(component).collect();
        let sbom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components});
        fs::write(self.0.path().join("sbom.json"), sbom.to_string()).unwrap();
    }

    fn init(&self, more: &[&str]) -> (i32, String, String) {
        let usual = ["policy", "init", "--rootfs", "rootfs", "--sbom", "sbom.json"];
        plimsoll(self.0.path(), &[usual.as_slice(), more].concat())
    }
}

#[test]
fn a_policy_is_made_that_checks_and_passes_its_cases() {
    let image = Image::new();
    let more = ["registry.example/shop/cart:2", "--namespace", "shop", "--config", "config.json", "-o", "cart"];
    let (code, text, errors) = image.init(&more);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert_eq!(text, "cart/policy.yaml\ncart/cases.yaml\n");
    let policy = fs::read_to_string(image.0.path().join("cart/policy.yaml")).unwrap();
    for part in [
        "# The container starts /entry.sh, /usr/bin/dash. With all that this needs to start:",
        "#   package-digest: 3 files\n#   layer-only: 1 file\n",
        "  name: cart\n",
        "      reference: \"registry.example/shop/cart:2\"\n    namespace: shop\n",
        "  mode: Monitor\n",
        "  evidence: package-digest\n",
        "    - path: /entry.sh\n      sha256: \"sha256:",
        "      reason: entrypoint; the SBOM does not list it\n",
        "# Files that could run and that the SBOM misses; add to `allow` what must run:\n#   /opt/cart/: 2 files\n",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert_eq!(policy.matches("- path:").count(), 1, "{policy}");
    assert_eq!(plimsoll(image.0.path(), &["policy", "check", "cart"]).0, 0);
    let (code, text, errors) = plimsoll(image.0.path(), &["policy", "test", "cart"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(": ").nth(2)).collect();
    for name in ["/usr/bin/dash", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/entry.sh", "a program that was downloaded"] {
        assert!(names.contains(name), "{name}: {text}");
    }
    // What is there is not replaced unasked.
    let (code, _, errors) = image.init(&more);
    assert_eq!(
        (code, errors.contains("`cart/policy.yaml` is there already; --force replaces it")),
        (3, true),
        "{errors}"
    );
    assert_eq!(image.init(&[more.as_slice(), &["--force", "--mode", "Enforce"]].concat()).0, 0);
    assert!(fs::read_to_string(image.0.path().join("cart/policy.yaml")).unwrap().contains("  mode: Enforce\n"));
    assert_eq!(plimsoll(image.0.path(), &["policy", "test", "cart"]).0, 0);
}

#[test]
fn what_no_package_of_the_sbom_has_is_pinned_and_a_package_it_misses_is_named() {
    let image = Image::new();
    image.sbom(&["libc6"]);
    let digest = format!("sha256:{}", "ab".repeat(32));
    let named = format!("registry.example/shop/cart@{digest}");
    let (code, text, errors) = image.init(&[&named, "--entrypoint", "dash"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    for part in [
        &*format!("    image:\n      digest: \"{digest}\"\n"),
        "    - path: /usr/bin/dash\n      sha256: ",
        "# Installed packages that the SBOM does not list:\n#   dash ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn content_that_contradicts_its_package_is_never_allowed_on_its_own_word() {
    let image = Image::new();
    let dash = image.path("usr/bin/dash");
    let changed = [fs::read(&dash).unwrap(), b"changed".to_vec()].concat();
    fs::write(&dash, changed).unwrap();
    let (code, text, errors) = image.init(&["--namespace", "shop", "--config", "config.json", "-o", "cart"]);
    assert_eq!(code, 1, "{text}");
    let said = "plimsoll: /usr/bin/dash: entrypoint, but its content is not what the dpkg database declares";
    assert!(errors.starts_with(said), "{errors}");
    let policy = fs::read_to_string(image.0.path().join("cart/policy.yaml")).unwrap();
    assert!(policy.contains("# NOT ALLOWED: /usr/bin/dash: ") && !policy.contains("- path: /usr/bin/dash"), "{policy}");
    let (code, text, _) = plimsoll(image.0.path(), &["policy", "test", "cart"]);
    assert_eq!((code, text.contains("/usr/bin/dash: entrypoint: audit (not-listed)")), (0, true), "{text}");
}

#[test]
fn what_is_missing_is_said_and_nothing_is_written_for_another_images_sbom() {
    let image = Image::new();
    fs::remove_file(image.path("usr/lib/x86_64-linux-gnu/libc.so.6")).unwrap();
    let (code, text, errors) = image.init(&["--namespace", "shop", "--entrypoint", "/bin/dash"]);
    assert_eq!(
        (code, errors.contains("library of /usr/bin/dash, `libc.so.6`, is not in the image")),
        (1, true),
        "{errors}"
    );
    assert!(text.contains("# Problem: library of /usr/bin/dash"), "{text}");
    image.sbom(&[]);
    let (code, text, errors) = image.init(&["--namespace", "shop", "--entrypoint", "/bin/dash"]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert!(errors.contains("nothing is written: the SBOM does not fit the image's files"), "{errors}");
    let (code, _, errors) = image.init(&["--namespace", "shop"]);
    assert_eq!((code, errors.contains("--config <FILE>")), (2, true), "{errors}");
}
