//! Whether another user can write a file: settings can name a program to run.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::{User, getegid, geteuid};

/// The user and group of the process that reads a file.
#[derive(Clone, Copy, Debug)]
struct Reader {
    user: u32,
    group: u32,
}

/// Owner, group and mode of a file.
#[derive(Clone, Copy, Debug)]
struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Why this process does not trust a file, and what to do; `None` if only root and its own user can write it. Its own
/// group may write it, too, because that is usually the private group of one user. Devices are not checked.
pub fn distrust(metadata: &Metadata) -> Option<String> {
    let kind = metadata.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return None;
    }
    let access = Access { owner: metadata.uid(), group: metadata.gid(), mode: metadata.mode() };
    problem(access, Reader { user: geteuid().as_raw(), group: getegid().as_raw() }, &name_of)
}

fn name_of(user: u32) -> String {
    let name = User::from_uid(user.into()).ok().flatten().map(|user| user.name);
    name.map_or_else(|| format!("user {user}"), |name| format!("user {user} ({name})"))
}

fn problem(access: Access, reader: Reader, name: &dyn Fn(u32) -> String) -> Option<String> {
    let Access { owner, group, mode } = access;
    let mode = mode & 0o7777;
    if owner != 0 && owner != reader.user {
        return Some(format!(
            "belongs to {}, and this program runs as {}: settings of another user, which can name a program to run, are not used; \
             give it the owner {} or root (chown), or name another file (--config)",
            name(owner),
            name(reader.user),
            reader.user
        ));
    }
    if mode & 0o002 != 0 {
        return Some(format!("can be written by every user (mode {mode:04o}); take that right away: chmod o-w"));
    }
    if mode & 0o020 != 0 && group != reader.group {
        return Some(format!(
            "can be written by the group {group} (mode {mode:04o}), which is not the group of this process ({}); take that right \
             away: chmod g-w",
            reader.group
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trusted_that_only_root_and_its_user_can_write() {
        let of = |owner, group, mode, user, own_group| {
            problem(Access { owner, group, mode }, Reader { user, group: own_group }, &|user| user.to_string())
        };
        for (owner, group, mode, user, own_group) in [
            (1000, 1000, 0o100_644, 1000, 1000),
            // With umask 002 and a private group.
            (1000, 1000, 0o100_664, 1000, 1000),
            // A ConfigMap.
            (0, 0, 0o100_644, 1000, 1000),
            (0, 0, 0o100_644, 0, 0),
            // An arbitrary user in the group root, as on OpenShift.
            (0, 0, 0o100_664, 1_000_620, 0),
        ] {
            assert_eq!(of(owner, group, mode, user, own_group), None, "{owner}:{group} {mode:o}");
        }
        for (owner, group, mode, user, own_group, expected) in [
            (1001, 1001, 0o100_644, 1000, 1000, "chown"),
            (1000, 1000, 0o100_644, 0, 0, "belongs to 1000, and this program runs as 0"),
            (1000, 1000, 0o100_646, 1000, 1000, "(mode 0646); take that right away: chmod o-w"),
            (0, 0, 0o100_666, 1000, 1000, "chmod o-w"),
            (1000, 100, 0o100_664, 1000, 1000, "chmod g-w"),
        ] {
            let text = of(owner, group, mode, user, own_group).unwrap();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn devices_are_not_checked() {
        assert_eq!(distrust(&std::fs::metadata("/dev/null").unwrap()), None);
        assert_eq!(distrust(tempfile::NamedTempFile::new().unwrap().as_file().metadata().as_ref().unwrap()), None);
    }
}
