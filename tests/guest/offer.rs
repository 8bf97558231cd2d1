//! Somebody outside the containers who gives a descriptor of a file of the host to whoever asks.

use std::{
    fs::{self, File},
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use anyhow::{Context as _, Result};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The directory with the socket `socket`.
pub(crate) const DIRECTORY: &str = "/run/plimsoll-offer";
const OFFERED: &str = "/usr/bin/true";

/// Gives until the process ends.
pub(crate) fn start() -> Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let listener = UnixListener::bind(Path::new(DIRECTORY).join("socket")).context("cannot offer a descriptor")?;
    let file = File::open(OFFERED).with_context(|| format!("cannot open {OFFERED}"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = give(&stream, &file) {
                eprintln!("the descriptor could not be given: {error:#}");
            }
        }
    });
    Ok(())
}

fn give(stream: &UnixStream, file: &File) -> Result<()> {
    let descriptors = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    anyhow::ensure!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "no room for a descriptor");
    sendmsg(stream, &[IoSlice::new(b"f")], &mut control, SendFlags::empty())?;
    Ok(())
}
