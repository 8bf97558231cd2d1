//! `plimsoll-actor`: tries one way of running code inside a container and says how it went.
//!
//! Exit status 0: it worked. 10: the kernel answered `EPERM`. 1: anything else, explained on standard error.
//! A step that only prepares the attempt never counts as a denial.

use std::{io, process::ExitCode};

mod execute;
mod mapping;
mod measure;
mod network;
mod process;

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
        ["fork-until-refused", count] => Ok(process::fork_until_refused(count.parse()?)),
        ["deny-loop", file, address, stop] => {
            process::deny_loop(file, address.parse()?, stop.as_ref());
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
        ["measure-connect", address, times] => Ok(measure::connect(address.parse()?, times.parse()?)),
        ["measure-connect-udp", address, times] => Ok(measure::connect_udp(address.parse()?, times.parse()?)),
        ["measure-map-exec", file, times] => Ok(measure::map_exec(file.as_ref(), times.parse()?)),
        ["network", ref rest @ ..] => network::attempt(rest),
        ["dlopen", library] => mapping::dlopen(library),
        ["map-exec", file] => mapping::map(file),
        ["protect-exec", file] => mapping::protect(file),
        ["modified-exec", file] => mapping::modified(file),
        ["write-exec-map", file] => mapping::writable(file),
        ["anonymous-exec"] => Ok(mapping::anonymous()),
        ["anonymous-protect"] => mapping::anonymous_protect(),
        _ => anyhow::bail!("unknown technique or wrong number of arguments: {arguments:?}"),
    }
}
