//! Keeps this process's code in memory.
//!
//! Under memory pressure the kernel evicts the pages of executables first. When such a page is needed again in a
//! control group at its limit, there may be no memory for it, and the kernel kills the process that needs it.

use std::io;

/// Locks the pages of all current mappings, each when it is first used: nothing is read in advance. Later mappings are
/// not locked, so that no allocation can fail by the limit of locked memory.
///
/// # Errors
/// The process has neither the capability `CAP_IPC_LOCK` nor a sufficient limit of locked memory (`ulimit -l`).
#[cfg(target_os = "linux")]
pub fn lock_current_mappings() -> io::Result<()> {
    use nix::sys::mman::{MlockAllFlags, mlockall};
    let on_fault = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | on_fault)?)
}

/// Does nothing: other systems cannot lock pages on first use.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn lock_current_mappings() -> io::Result<()> {
    Ok(())
}
