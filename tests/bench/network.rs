//! A network of the measurement's own, and an end of it: media to some addresses is dropped where a network card would
//! take it. Over loopback the core that sends does the receiver's work too, a quarter of it all, which no server on a
//! network has to do.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts this program anew in a network namespace of its own, ahead of other programs. Comes back where that is done,
/// and where the system does not allow it.
pub(crate) fn enter(arguments: &[String]) {
    if is_own() {
        return;
    }
    // An ordinary user may be root in a namespace of users.
    for flags in [&["--net"][..], &["--net", "--map-root-user"]] {
        let attempt = format!("{PREPARE} && tc filter add dev lo egress bpf da bytecode '{}'", program());
        if is_done(Command::new("unshare").args(flags).args(["sh", "-c", &attempt])) {
            let begin = format!("{PREPARE}; {HURRY}; exec \"$@\"");
            let mut again = Command::new("unshare");
            again.args(flags).args(["sh", "-c", &begin, "sh"]).arg(std::env::current_exe().unwrap()).args(arguments);
            let error = again.env(OWN, "yes").exec();
            panic!("unshare has gone: {error}");
        }
    }
}

/// The network is the measurement's own: media can be discarded.
pub(crate) fn is_own() -> bool {
    std::env::var_os(OWN).is_some()
}

/// Media to [`NOWHERE`] is discarded until this is dropped. Checks, handshakes and reports are not.
pub(crate) struct Discard(());

impl Discard {
    /// Begins; `None` where the network is not our own.
    pub(crate) fn begin() -> Option<Self> {
        let filter = ["filter", "add", "dev", "lo", "egress", "bpf", "da", "bytecode", &program()];
        is_own().then(|| {
            assert!(is_done(Command::new("tc").args(filter)), "tc takes no filter any more");
            Self(())
        })
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        is_done(Command::new("tc").args(["filter", "del", "dev", "lo", "egress"]));
    }
}

/// A filter in the kernel's language: IPv4, UDP, to that address, RTP by its first two bytes (RFC 7983, RFC 5761 §4).
fn program() -> String {
    let address = u32::from(NOWHERE);
    let steps = [
        format!("{LOAD_HALF} 0 0 12"),
        format!("{JUMP_EQUAL} 0 12 {IPV4}"),
        format!("{LOAD_BYTE} 0 0 23"),
        format!("{JUMP_EQUAL} 0 10 {UDP}"),
        format!("{LOAD_WORD} 0 0 30"),
        format!("{JUMP_EQUAL} 0 8 {address}"),
        format!("{LOAD_BYTE} 0 0 42"),
        format!("{JUMP_AT_LEAST} 0 6 128"),
        format!("{JUMP_AT_LEAST} 5 0 192"),
        format!("{LOAD_BYTE} 0 0 43"),
        format!("{JUMP_AT_LEAST} 0 1 192"),
        format!("{JUMP_AT_LEAST} 0 2 224"),
        format!("{RETURN} 0 0 {STOLEN}"),
        format!("{RETURN} 0 0 {PASS}"),
        format!("{RETURN} 0 0 {PASS}"),
    ];
    format!("{},{}", steps.len(), steps.join(","))
}

fn is_done(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Where it is heard what is sent.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where media can be discarded on its way.
pub(crate) const NOWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PREPARE: &str = "ip link set lo up && tc qdisc add dev lo clsact";
/// The second is for kernels that share a core among sessions first.
const HURRY: &str = "{ renice -n -15 $$; echo -15 > /proc/self/autogroup; } > /dev/null 2>&1";
const OWN: &str = "TRIBUNE_BENCH_NETWORK";
/// Of linux/filter.h: `BPF_LD | BPF_ABS` of a byte, two, four; `BPF_JMP | BPF_K`; `BPF_RET | BPF_K`.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Of linux/pkt_cls.h.
const PASS: u8 = 0;
const STOLEN: u8 = 4;
const IPV4: u16 = 0x0800;
const UDP: u8 = 17;
