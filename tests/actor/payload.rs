//! `libactor_payload.so`: says so when it is loaded into a process.

extern "C" fn announce() {
    const MESSAGE: &[u8] = b"payload loaded\n";
    // SAFETY: the buffer is valid for its length. Nothing can be done about a closed standard error.
    unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
}

// SAFETY: the section holds pointers to functions of this type, which the loader calls once each.
#[unsafe(link_section = ".init_array")]
#[used]
static CONSTRUCTOR: extern "C" fn() = announce;
