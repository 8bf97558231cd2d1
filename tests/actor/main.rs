//! `plimsoll-actor`: tries one way of running code inside a container and says how it went.
//!
//! Exit status 0: it worked. 10: the kernel answered `EPERM`. 1: anything else, explained on standard error.
//! A step that only prepares the attempt never counts as a denial.

use std::{ffi::CString, io, process::ExitCode};

mod child;
mod descriptor;
mod execute;
mod files;
mod format;
mod harden;
mod inject;
mod mapping;
mod measure;
mod memory;
mod names;
mod network;
mod process;
mod race;
mod ring;
mod wrapper;

/// What came of a technique: `Err` if it could not be tried, else the kernel's answer.
type Attempt = anyhow::Result<io::Result<()>>;

const DENIED: u8 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ExitCode::from(status(attempt(&arguments)))
}

/// An attempt's exit status; what is not plain success is explained on standard error.
fn status(attempt: Attempt) -> u8 {
    match attempt {
        Ok(Ok(())) => 0,
        Ok(Err(error)) if error.raw_os_error() == Some(libc::EPERM) => {
            eprintln!("plimsoll-actor: denied: {error}");
            DENIED
        }
        Ok(Err(error)) => {
            eprintln!("plimsoll-actor: neither allowed nor denied: {error}");
            1
        }
        Err(error) => {
            eprintln!("plimsoll-actor: {error:#}");
            1
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
        ["exec-or-die", file] => execute::or_killed(file),
        ["watched", worked, denied, ref command @ ..] => execute::watched(worked, denied, command),
        ["measure-fork-exec", program, times] => Ok(measure::fork_exec(program.as_ref(), times.parse()?)),
        ["measure-fork-exec-each", directory] => Ok(measure::fork_exec_each(directory.as_ref())),
        ["measure-run", times, ref command @ ..] => Ok(measure::run(times.parse()?, command)),
        ["measure-spawn", times] => Ok(measure::spawn(times.parse()?)),
        ["measure-chain", times] => Ok(measure::chain(times.parse()?)),
        ["measure-link", left] => Ok(measure::link(left.parse()?)),
        ["measure-load", library, times] => Ok(measure::load(library.as_ref(), times.parse()?)),
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
        _ => special(arguments).unwrap_or_else(|| around(arguments)),
    }
}

/// Files by descriptors and odd names, memory of all kinds, races.
fn special(arguments: &[&str]) -> Option<Attempt> {
    Some(match *arguments {
        ["exec-relative", directory, name] => descriptor::relative(directory, name),
        ["exec-path-only", file] => descriptor::path_only(file),
        ["exec-map-file", file] => descriptor::mapped(file),
        ["exec-detached-filesystem", file] => descriptor::detached_filesystem(file),
        ["exec-detached-mount", directory, name] => descriptor::detached_mount(directory, name),
        ["exec-handle", mount, file] => descriptor::by_handle(mount, file),
        ["exec-received", socket] => descriptor::received(socket),
        ["exec-ring", file] => {
            CString::new(file).map_or_else(|error| Err(error.into()), |file| descriptor::by_ring(&file))
        }
        ["exec-thread", file] => wrapper::thread(file),
        ["exec-registered", flags, interpreter, program] => format::registered(flags, interpreter, program),
        ["exec-odd-name", kind, file, directory] => names::odd(kind, file, directory),
        ["exec-deep", levels, name, file, directory] => names::deep(levels, name, file, directory),
        ["exec-exchanged", one, other] => names::exchanged(one, other),
        ["exec-masked", file, name] => names::masked(file, name),
        ["race-copy-up", other, ref victims @ ..] => race::copy_up(other, victims),
        ["race-link", listed, other, directory, times] => race::link(listed, other, directory, times),
        ["memory", file, kind, ref protections @ ..] => memory::steps(file, kind, protections),
        ["memory-system-v", "at-once"] => memory::system_v(true),
        ["memory-system-v", "later"] => memory::system_v(false),
        ["memory-stack"] => Ok(memory::stack()),
        ["memory-implied-later", file] => memory::implied_later(file),
        ["memory-heap"] => memory::heap(),
        ["memory-ring"] => ring::executable(),
        ["memory-32-bit"] => Ok(memory::compatible()),
        ["uselib", file] => memory::uselib(file),
        _ => return None,
    })
}

/// Another attempt under other circumstances.
fn around(arguments: &[&str]) -> Attempt {
    match *arguments {
        ["in-mount-namespace", script, ref rest @ ..] => wrapper::mount_namespace(script, rest),
        ["in-user-namespace", script, ref rest @ ..] => wrapper::user_namespace(script, rest),
        ["in-process-namespace", ref rest @ ..] => wrapper::process_namespace(rest),
        ["in-joined-namespace", script, ref rest @ ..] => wrapper::joined_namespace(script, rest),
        ["in-root", directory, ref rest @ ..] => wrapper::other_root(directory, rest),
        ["in-pivoted-root", script, directory, ref rest @ ..] => wrapper::pivoted_root(script, directory, rest),
        ["in-cgroup", directory, ref rest @ ..] => wrapper::cgroup(directory, rest),
        ["born-in-cgroup", directory, ref rest @ ..] => wrapper::born_in_cgroup(directory, rest),
        ["as-user", id, ref rest @ ..] => wrapper::user(id, rest),
        ["as-orphan", ref rest @ ..] => wrapper::orphan(rest),
        ["read-implies-exec", ref rest @ ..] => wrapper::read_implies_exec().and_then(|()| attempt(rest)),
        ["with-memory-file", flags, file, ref rest @ ..] => descriptor::with_memory_file(flags, file, rest),
        ["with-open", file, ref rest @ ..] => descriptor::with_open(file, rest),
        _ => unwelcome(arguments),
    }
}

/// What hardening forbids, and what nobody may do to Plimsoll.
fn unwelcome(arguments: &[&str]) -> Attempt {
    match *arguments {
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
        _ => with_rules(arguments),
    }
}

/// Operations on files, by every name that a file can be reached by.
fn with_rules(arguments: &[&str]) -> Attempt {
    match *arguments {
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
