//! `plimsoll-actor`: tries one way of running code inside a container and says how it went.
//!
//! Exit status 0: it worked. 10: the kernel answered `EPERM`. 1: anything else, explained on standard error.
//! A step that only prepares the attempt never counts as a denial.

use std::{io, process::ExitCode};

mod execute;
mod files;
mod mapping;
mod measure;
mod process;
mod ring;

/// What came of a technique: `Err` if it could not be tried, else the kernel's answer.
type Attempt = anyhow::Result<io::Result<()>>;

const DENIED: u8 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match attempt(&arguments) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.raw_os_error() == Some(libc::EPERM) => {
            eprintln!("plimsoll-actor: denied: {error}");
            ExitCode::from(DENIED)
        }
        Ok(Err(error)) => {
            eprintln!("plimsoll-actor: neither allowed nor denied: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("plimsoll-actor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(arguments: &[&str]) -> Attempt {
    match *arguments {
        ["hello"] => {
            println!("hello from plimsoll-actor");
            Ok(Ok(()))
        }
        ["wait"] => process::wait(),
        ["fork-exec-loop", file, count] => {
            process::fork_exec_loop(file, count.parse()?);
            Ok(Ok(()))
        }
        ["exec", file, ref rest @ ..] => execute::path(file, rest),
        ["memfd-exec", file] => execute::memfd(file),
        ["tmpfile-exec", file, directory] => execute::tmpfile(file, directory),
        ["deleted-exec", file, directory] => execute::deleted(file, directory),
        ["descriptor-exec", file] => execute::descriptor(file),
        ["loader-exec", file] => execute::by_loader(file),
        ["preload", library, file] => execute::preload(library, file),
        ["unshare-exec", file] => execute::unshared(file),
        ["bind-exec", source, target] => execute::bind_mounted(source, target),
        ["chroot-exec", directory, file] => execute::in_chroot(directory, file),
        ["measure-fork-exec", program, times] => Ok(measure::fork_exec(program.as_ref(), times.parse()?)),
        ["measure-open-close", file, times] => Ok(measure::open_close(file.as_ref(), times.parse()?)),
        ["measure-map-exec", file, times] => Ok(measure::map_exec(file.as_ref(), times.parse()?)),
        ["dlopen", library] => mapping::dlopen(library),
        ["map-exec", file] => mapping::map(file),
        ["protect-exec", file] => mapping::protect(file),
        ["modified-exec", file] => mapping::modified(file),
        ["write-exec-map", file] => mapping::writable(file),
        ["anonymous-exec"] => Ok(mapping::anonymous()),
        ["anonymous-protect"] => mapping::anonymous_protect(),
        ["file", operation, file, ref more @ ..] => files::operate(operation, file.as_ref(), more),
        ["read-below-descriptor", file] => files::below_descriptor(file.as_ref()),
        ["read-by-path-descriptor", file] => files::by_path_descriptor(file.as_ref()),
        ["read-by-bind-mount", file, mount_point] => files::bind_mounted(file.as_ref(), mount_point.as_ref()),
        ["read-in-chroot", file] => files::in_chroot(file.as_ref()),
        ["read-through-overlay", file, mount_point] => files::through_overlay(file.as_ref(), mount_point.as_ref()),
        ["read-by-handle", file] => files::by_handle(file.as_ref()),
        ["read-after-moving-parent", file, new] => files::after_moving_parent(file.as_ref(), new.as_ref()),
        ["name-unnamed", file] => files::name_unnamed(file.as_ref()),
        ["by-ring", operation, file] => files::by_ring(operation, file.as_ref()),
        _ => anyhow::bail!("unknown technique or wrong number of arguments: {arguments:?}"),
    }
}
