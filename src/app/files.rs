//! How many files may be open: each TCP connection is one, and most systems begin with 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many open files as that many connections need, as far as the system lets us. Returns how many of them fit:
/// a server that runs out of files cannot even say that it is full.
pub(super) fn allow(connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else {
        return connections;
    };
    let needed = connections as u64 + OTHER_FILES;
    let wanted = limit.maximum.map_or(needed, |maximum| needed.min(maximum));
    let raised = wanted > current
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok();
    let allowed = if raised { wanted } else { current };
    let fit = fit(connections, allowed);
    if fit < connections {
        tracing::warn!(allowed, needed, connections = fit, "open files are limited; fewer connections are taken");
    }
    fit
}

/// How many of these connections fit among so many open files.
fn fit(connections: usize, files: u64) -> usize {
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    // With next to no files it is better to try than to turn everybody away.
    connections.min(room.max(16))
}

/// Media sockets and bells of 64 threads, pages, the runtime's own, standard streams.
const OTHER_FILES: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (connections, files, fits) in
            [(4_096, 1_024, 768), (4_096, 4_352, 4_096), (4_096, u64::MAX, 4_096), (4_096, 100, 16), (1, 100, 1)]
        {
            assert_eq!(fit(connections, files), fits, "{connections} connections, {files} files");
        }
    }

    #[test]
    fn what_is_allowed_can_be_opened() {
        let fits = allow(300);

        assert!(getrlimit(Resource::Nofile).current.is_none_or(|files| files >= fits as u64 + OTHER_FILES));
    }
}
