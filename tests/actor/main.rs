//! `plimsoll-actor`: tries one way of running code inside a container and says how it went.
//!
//! Exit status 0: it worked. 10: the kernel answered `EPERM`. 1: anything else, explained on standard error.
//! A step that only prepares the attempt never counts as a denial.

use std::{io, process::ExitCode};

mod child;
mod execute;
mod harden;
mod inject;
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
        ["trace", request] => inject::attach(request),
        ["trace-me"] => inject::trace_me(),
        ["process-write"] => inject::process_memory(true),
        ["process-read"] => inject::process_memory(false),
        ["child-memory"] => inject::memory_of_child(),
        ["child-descriptor"] => inject::descriptor_of_child(),
        ["own-memory"] => inject::own_memory(),
        ["own-memory-by-ring"] => inject::own_memory_by_ring(),
        ["look-at-processes"] => inject::look(),
        ["operation", name] => harden::operation(name),
        ["mounted-file", kind, options, file] => harden::mounted_file(kind, options, file),
        ["open-for-writing", file] => Ok(harden::open_for_writing(file)),
        ["ring"] => Ok(ring::make()),
        ["polled-ring"] => Ok(ring::make_polled()),
        ["ring-credentials"] => ring::register_credentials(),
        ["map-by-id", id] => Ok(harden::map_by_number(id.parse()?)),
        ["pinned", path] => harden::pinned(path),
        ["capability", name] => harden::capability(name),
        ["to-process", what, process] => harden::to_process(what, process),
        ["mount-over", path] => Ok(harden::mount("tmpfs", path, "tmpfs", 0)),
        ["unmount", path] => Ok(harden::unmount(path)),
        ["unlink", path] => Ok(std::fs::remove_file(path)),
        ["rename", from, to] => Ok(std::fs::rename(from, to)),
        ["connect", path] => Ok(std::os::unix::net::UnixStream::connect(path).map(drop)),
        _ => anyhow::bail!("unknown technique or wrong number of arguments: {arguments:?}"),
    }
}
