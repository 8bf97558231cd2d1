//! The disks of a guest: ext4 images, shared by all guests and never changed by one.

use std::path::PathBuf;

/// Image files of a guest's disks.
#[derive(Debug, Clone, Default)]
pub struct Disks {
    /// Root file system: writable in the guest, what it writes is forgotten. Without it the command runs in the initramfs.
    pub root: Option<PathBuf>,
    /// The programs under test and the image they are tested with, read-only at `/payload`.
    pub payload: Option<PathBuf>,
}

impl Disks {
    /// Serial number, file and whether the guest may write (into a snapshot) of each disk. The serial is how the guest knows
    /// which disk is which.
    pub(super) fn attached(&self) -> impl Iterator<Item = (&'static str, &PathBuf, bool)> {
        let Self { root, payload } = self;
        [("root", root, true), ("payload", payload, false)]
            .into_iter()
            .filter_map(|(serial, file, writable)| file.as_ref().map(|file| (serial, file, writable)))
    }
}
