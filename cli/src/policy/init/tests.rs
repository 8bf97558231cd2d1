//! Closures of real programs, against what the real dynamic linker says it loads.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process,
};

use plimsoll_rootfs::{Options, Tree};

use super::{
    closure::{self, Closure, Role},
    command,
    root::Root,
};

/// A root filesystem with programs of this machine and all that ldd(1) finds for them.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let new = Self { root };
        for name in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(new.path("usr").join(name)).unwrap();
            symlink(format!("usr/{name}"), new.path(name)).unwrap();
        }
        fs::create_dir_all(new.path("etc/ld.so.conf.d")).unwrap();
        fs::copy("/etc/ld.so.conf", new.path("etc/ld.so.conf")).unwrap();
        for entry in fs::read_dir("/etc/ld.so.conf.d").unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, new.path(from.strip_prefix("/").unwrap())).unwrap();
        }
        new
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(path)
    }

    /// Copies a file to where it is here, by its real path; gives that back.
    fn copy(&self, from: &Path) -> String {
        let real = fs::canonicalize(from).unwrap();
        let to = self.path(real.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&real, &to).unwrap();
        // The name that led to it is a link there too.
        let name = fs::canonicalize(from.parent().unwrap()).unwrap().join(from.file_name().unwrap());
        let link = self.path(name.strip_prefix("/").unwrap());
        if name != real && !link.is_symlink() {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&real, link).unwrap();
        }
        real.to_str().unwrap().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn closure(&self, config: Option<&str>, programs: &[&str]) -> Closure {
        let tree = Tree::read(&[self.root.path().to_owned()], &Options::default()).unwrap();
        let mut root = Root { listing: &tree.listing, files: tree.files() };
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), config.unwrap_or_default()).unwrap();
        let programs: Vec<String> = programs.iter().map(ToString::to_string).collect();
        let command = command::command(&root, config.map(|_| file.path()), &programs).unwrap();
        closure::closure(&mut root, &command).unwrap()
    }
}

/// What the dynamic linker says it loads for a program, itself included.
fn ldd(program: &Path) -> BTreeSet<PathBuf> {
    let output = process::Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn paths(closure: &Closure) -> BTreeSet<String> {
    closure.files.keys().map(|path| format!("/{}", String::from_utf8_lossy(path))).collect()
}

#[test]
fn real_programs_need_what_the_dynamic_linker_loads() {
    for program in ["/bin/sh", "/bin/bash", "/bin/tar", "/usr/bin/dpkg", "/usr/bin/ldd"] {
        let machine = Machine::new();
        let mut expected = BTreeSet::from([machine.copy(Path::new(program))]);
        // ldd itself is a script for bash.
        let binary = if program == "/usr/bin/ldd" { Path::new("/bin/bash") } else { Path::new(program) };
        expected.insert(machine.copy(binary));
        expected.extend(ldd(binary).iter().map(|path| machine.copy(path)));
        let closure = machine.closure(None, &[program]);
        assert_eq!(closure.problems, BTreeSet::new(), "{program}");
        assert_eq!(paths(&closure), expected, "{program}");
    }
}

/// Builds a shared library, or a program where `main` is in the text.
fn build(machine: &Machine, output: &str, text: &str, more: &[&str]) {
    let to = machine.path(output);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let source = machine.root.path().with_extension("c");
    fs::write(&source, text).unwrap();
    let mut command = process::Command::new("cc");
    if !text.contains("main") {
        command.args(["-shared", "-fPIC"]);
    }
    command.args(["-Wl,--no-as-needed", "-o"]).arg(&to).arg(&source);
    let status = command.args(more).current_dir(machine.root.path()).status().unwrap();
    fs::remove_file(source).unwrap();
    assert!(status.success(), "{output}");
}

#[test]
fn libraries_are_found_by_run_paths_from_where_they_lie() {
    let machine = Machine::new();
    machine.copy(Path::new("/lib64/ld-linux-x86-64.so.2"));
    machine.copy(Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
    // Only the library's own path leads to `two`, and only a path that passes down leads to `three`.
    build(&machine, "opt/app/deep/libthree.so", "int three;", &[]);
    build(&machine, "opt/app/private/libtwo.so", "int two;", &["-Lopt/app/deep", "-lthree"]);
    let one =
        ["-Wl,-soname,libone.so.1", "-Lopt/app/private", "-ltwo", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../private"];
    let one = [one.as_slice(), &["-Wl,--allow-shlib-undefined"]].concat();
    build(&machine, "opt/app/lib/libone.so.1", "int one;", &one);
    let old = ["opt/app/lib/libone.so.1", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib:${ORIGIN}/../deep"];
    let old =
        [old.as_slice(), &["-Wl,--allow-shlib-undefined", "-Wl,-rpath-link,opt/app/private:opt/app/deep"]].concat();
    build(&machine, "opt/app/bin/run", "int main(void) { return 0; }", &old);
    // Another machine's library of the same name comes first, and is passed over.
    let mut other = fs::read(machine.path("opt/app/lib/libone.so.1")).unwrap();
    other[18] = 183;
    fs::create_dir_all(machine.path("opt/other")).unwrap();
    fs::write(machine.path("opt/other/libone.so.1"), other).unwrap();
    symlink("../opt/app/bin/run", machine.path("usr/bin-run")).unwrap();

    let closure = machine
        .closure(Some(r#"{"config": {"Entrypoint": ["/usr/bin-run"], "Env": ["LD_LIBRARY_PATH=/opt/other"]}}"#), &[]);
    let from_linker = ldd(&machine.path("opt/app/bin/run"));
    let inside = |path: &PathBuf| {
        let real = fs::canonicalize(path).unwrap();
        let inside = real.strip_prefix(machine.root.path()).map(|path| Path::new("/").join(path));
        inside.unwrap_or(real).to_str().unwrap().to_owned()
    };
    let mut expected: BTreeSet<String> = from_linker.iter().map(inside).collect();
    expected.insert("/opt/app/bin/run".to_owned());
    assert_eq!(closure.problems, BTreeSet::new());
    assert_eq!(paths(&closure), expected);
    assert_eq!(expected.iter().filter(|path| path.starts_with("/opt/app/")).count(), 4, "{expected:?}");
}

#[test]
fn scripts_need_their_interpreters_and_start_what_the_image_says() {
    let machine = Machine::new();
    for program in ["/bin/sh", "/usr/bin/env"] {
        machine.copy(Path::new(program));
        for path in ldd(Path::new(program)) {
            machine.copy(&path);
        }
    }
    machine.write("entry.sh", "#! /bin/sh -e\nexec \"$@\"\n");
    machine.write("opt/bin/serve", "#!/usr/bin/env -S shell -x\n");
    machine.write("opt/bin/shell", "#!/bin/sh\n");
    machine.write("opt/bin/unused", "#!/bin/sh\n");
    let config = r#"{"config": {"Entrypoint": ["/entry.sh", "--"], "Cmd": ["serve", "/etc/ld.so.conf"],
                     "Env": ["PATH=/opt/bin:/usr/bin"]}}"#;
    let closure = machine.closure(Some(config), &[]);
    assert_eq!(closure.problems, BTreeSet::new());
    let role = |path: &str| closure.files.get(path.as_bytes()).map(|member| member.role);
    assert_eq!(role("entry.sh"), Some(Role::Entrypoint));
    assert_eq!(role("opt/bin/serve"), Some(Role::Entrypoint));
    assert_eq!(role("usr/bin/env"), Some(Role::Interpreter));
    assert_eq!(role("opt/bin/shell"), Some(Role::Interpreter));
    assert_eq!(role("usr/bin/dash"), Some(Role::Interpreter));
    assert_eq!(role("opt/bin/unused"), None);
    assert_eq!(role("etc/ld.so.conf"), None);
}

#[test]
fn what_cannot_be_found_is_told_and_ends() {
    let machine = Machine::new();
    machine.write("loop", "#!/loop\n");
    machine.write("gone", "#!/usr/bin/python9\n");
    machine.write("broken", "\u{7f}ELF and no more");
    machine.write("data", "x");
    machine.write("etc/ld.so.conf", "include /etc/ld.so.conf\n");
    machine.copy(Path::new("/bin/sh"));
    let closure = machine.closure(None, &["/loop", "/gone", "/broken", "/data", "/bin/sh", "/absent"]);
    let problems: Vec<&str> = closure.problems.iter().map(String::as_str).collect();
    for part in [
        "entrypoint `/absent` is not in the image",
        "runs the script /gone `/usr/bin/python9` is not in the image",
        "`/broken` is broken ELF, and what it needs is not known",
        "`/data` is neither a script nor an ELF program",
        "dynamic linker of /usr/bin/dash, `/lib64/ld-linux-x86-64.so.2`, is not in the image",
        "library of /usr/bin/dash, `libc.so.6`, is not in the image",
        "`/etc/ld.so.conf`: too many files include each other",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}
