//! An ICE-lite agent (RFC 8445 §2.5): answers authenticated checks, remembers where they came from, and sends media
//! where the client nominates. It sends nothing to an address that did not send first.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::wire::sdp::IceCredentials;
use crate::wire::stun::{self, Class, Message};

/// Where a client is, and which of our addresses it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The client's address.
    pub remote: SocketAddr,
    /// The address of ours that it sent to; replies leave from there.
    pub local: Option<IpAddr>,
}

/// What a check led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Authentic; a success response was written.
    Answered {
        /// This address was not known before.
        new_address: bool,
        /// An address that had to make room.
        evicted: Option<SocketAddr>,
        /// The check nominates its path (RFC 8445 §8.1.1).
        nominates: bool,
        /// Our name fragment from before a restart, when this check has made the restart complete.
        retired: Option<String>,
    },
    /// Authentic, but an error response was written and nothing changed.
    Refused,
    /// Not authentic, or not for this session: nothing was written and nothing changed.
    Ignored,
}

/// The agent of one session.
pub struct Ice {
    current: Credentials,
    /// After a restart, until a check nominates with them (RFC 8445 §9).
    next: Option<Credentials>,
    addresses: Vec<Address>,
    selected: Option<Path>,
    /// Hashes of recent checks and of where they came from: a copy sent from elsewhere must not move the media.
    seen: VecDeque<(u32, u32)>,
    new_addresses: VecDeque<Instant>,
}

/// What the checks of one ICE session must carry.
struct Credentials {
    ufrag: Box<str>,
    /// The key is made anew for each check: it takes half a microsecond every few seconds, and 700 bytes all the time.
    pwd: Box<str>,
    remote_ufrag: Box<str>,
}

impl Credentials {
    fn new(local: &IceCredentials, remote: &IceCredentials) -> Self {
        let [ufrag, pwd, remote_ufrag] = [&local.ufrag, &local.pwd, &remote.ufrag].map(|text| text.as_str().into());
        Self { ufrag, pwd, remote_ufrag }
    }

    fn are_named_by(&self, message: &Message<'_>) -> bool {
        message.ufrags() == Some((&*self.ufrag, &*self.remote_ufrag))
    }

    /// A hash that nobody can foresee who does not know the password.
    fn hash(&self, of: &impl Hash) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.pwd.hash(&mut hasher);
        of.hash(&mut hasher);
        hasher.finish() as u32
    }
}

struct Address {
    path: Path,
    last_check: Instant,
}

impl Ice {
    /// An agent that has seen nothing yet.
    pub fn new(local: &IceCredentials, remote: &IceCredentials) -> Self {
        Self {
            current: Credentials::new(local, remote),
            next: None,
            // Most clients stay at one.
            addresses: Vec::with_capacity(1),
            selected: None,
            seen: VecDeque::new(),
            new_addresses: VecDeque::new(),
        }
    }

    /// Begins an ICE restart: checks with these credentials are answered from now on, those with the old ones until
    /// one of the new nominates. Media stays where it is meanwhile. Returns our name fragment of a restart that was not
    /// completed and never will be.
    pub fn restart(&mut self, local: &IceCredentials, remote: &IceCredentials) -> Option<String> {
        self.next.replace(Credentials::new(local, remote)).map(|abandoned| abandoned.ufrag.into())
    }

    /// Our name fragments that checks may carry now.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().map(|credentials| &*credentials.ufrag)
    }

    /// Takes in a Binding request whose user name begins with our fragment; a reply is appended to `reply`.
    pub fn check(&mut self, message: &Message<'_>, path: Path, now: Instant, reply: &mut Vec<u8>) -> Checked {
        let Some(key) = self.key_of(message) else {
            return Checked::Ignored;
        };
        if let Some(attribute) = message.unknown {
            stun::write_unknown_attribute(reply, &message.transaction, attribute, &key);
            return Checked::Refused;
        }
        if message.controlled.is_some() {
            // A lite agent is always controlled, so the client must control (RFC 8445 §7.3.1.1).
            stun::write_error(reply, &message.transaction, ROLE_CONFLICT, "Role Conflict", &key);
            return Checked::Refused;
        }
        if self.is_replay(&message.transaction, path.remote) {
            return Checked::Ignored;
        }

        let known = self.addresses.iter_mut().find(|a| a.path.remote == path.remote);
        let (new_address, evicted) = if let Some(address) = known {
            address.last_check = now;
            address.path.local = path.local;
            (false, None)
        } else {
            if !self.may_add(now) {
                return Checked::Ignored;
            }
            let evicted = self.evict();
            self.addresses.push(Address { path, last_check: now });
            (true, evicted)
        };
        if message.use_candidate || self.selected.is_none() {
            self.selected = Some(path);
        }

        let retired = self.complete_restart(message);

        stun::write_success(reply, &message.transaction, path.remote, &key);
        Checked::Answered { new_address, evicted, nominates: message.use_candidate, retired }
    }

    /// Tells a client that still checks that it may not send any more (RFC 7675 §5.2).
    pub fn forbid(&self, message: &Message<'_>, reply: &mut Vec<u8>) {
        if let Some(key) = self.key_of(message) {
            stun::write_error(reply, &message.transaction, FORBIDDEN, "Forbidden", &key);
        }
    }

    /// Something authentic other than a check came from here: the client uses this path. A browser whose network broke
    /// does so seconds before it nominates. Only a path that was checked later than the present one is followed, so that
    /// what was on its way at a change cannot undo it. `true` when media has moved.
    pub fn follow(&mut self, path: Path) -> bool {
        let last_check = |remote| self.addresses.iter().find(|a| a.path.remote == remote).map(|a| a.last_check);
        let Some(selected) = self.selected.filter(|selected| selected.remote != path.remote) else {
            return false;
        };
        let moves =
            last_check(path.remote).is_some_and(|there| last_check(selected.remote).is_none_or(|here| there > here));
        if moves {
            self.selected = Some(path);
        }
        moves
    }

    /// Where media goes: the path nominated last, before that the first one.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Every address that passed a check and is still kept.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|a| a.path.remote)
    }

    /// The key of an authentic request.
    fn key_of(&self, message: &Message<'_>) -> Option<stun::Key> {
        let mut generations = [Some(&self.current), self.next.as_ref()].into_iter().flatten();
        let named = generations.find(|credentials| credentials.are_named_by(message))?;
        let key = stun::Key::new(&named.pwd);
        (matches!(message.class, Class::Request) && message.verify(&key)).then_some(key)
    }

    /// A nomination with the credentials of a restart ends the time of the old ones. Returns our old name fragment.
    fn complete_restart(&mut self, message: &Message<'_>) -> Option<String> {
        let next = self.next.take_if(|next| message.use_candidate && next.are_named_by(message))?;
        Some(std::mem::replace(&mut self.current, next).ufrag.into())
    }

    fn is_replay(&mut self, transaction: &[u8; 12], from: SocketAddr) -> bool {
        // The password makes these hashes unpredictable: nobody finds an address that passes for another.
        let id = self.current.hash(transaction);
        let origin = self.current.hash(&from);
        if let Some((_, known)) = self.seen.iter().find(|(seen, _)| *seen == id) {
            return *known != origin;
        }
        if self.seen.len() == MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back((id, origin));
        false
    }

    fn may_add(&mut self, now: Instant) -> bool {
        while self.new_addresses.front().is_some_and(|t| now.duration_since(*t) > NEW_ADDRESS_SPAN) {
            self.new_addresses.pop_front();
        }
        if self.new_addresses.len() >= MAX_NEW_ADDRESSES {
            return false;
        }
        self.new_addresses.push_back(now);
        true
    }

    /// Makes room by dropping the address that has been quiet the longest; never the selected one.
    fn evict(&mut self) -> Option<SocketAddr> {
        if self.addresses.len() < MAX_ADDRESSES {
            return None;
        }
        let selected = self.selected.map(|s| s.remote);
        let (oldest, _) = (self.addresses.iter().enumerate())
            .filter(|(_, a)| Some(a.path.remote) != selected)
            .min_by_key(|(_, a)| a.last_check)?;
        Some(self.addresses.swap_remove(oldest).path.remote)
    }
}

/// RFC 8445 §16.1
const ROLE_CONFLICT: u16 = 487;
/// RFC 7675 §5.2
const FORBIDDEN: u16 = 403;
/// A client has a handful of interfaces; anything above is somebody spending our memory.
const MAX_ADDRESSES: usize = 8;
const MAX_NEW_ADDRESSES: usize = 20;
const NEW_ADDRESS_SPAN: Duration = Duration::from_mins(1);
/// Checks that are remembered: several minutes of a client with one address.
const MAX_SEEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stun::Check;
    use aws_lc_rs::hmac;

    const PASSWORD: &str = "our-password-of-24-chars";

    fn agent() -> (Ice, stun::Key) {
        let local = IceCredentials { ufrag: "ours".into(), pwd: PASSWORD.into() };
        let remote = IceCredentials { ufrag: "them".into(), pwd: "their-password-of-24-ch.".into() };
        (Ice::new(&local, &remote), stun::Key::new(&local.pwd))
    }

    fn path(port: u16) -> Path {
        Path { remote: SocketAddr::from(([192, 0, 2, 1], port)), local: None }
    }

    fn check(id: u8, use_candidate: bool, username: &str, key: &stun::Key) -> Vec<u8> {
        let mut out = Vec::new();
        let check = Check { transaction: [id; 12], username, priority: 1, controlling: 1, use_candidate };
        stun::write_check(&mut out, &check, key);
        out
    }

    fn feed(ice: &mut Ice, datagram: &[u8], path: Path, now: Instant) -> Checked {
        let message = Message::parse(datagram).expect("a STUN message");
        ice.check(&message, path, now, &mut Vec::new())
    }

    #[test]
    fn media_follows_the_nomination() {
        let (mut ice, key) = agent();
        let now = Instant::now();

        feed(&mut ice, &check(1, false, "ours:them", &key), path(1), now);
        assert_eq!(ice.selected(), Some(path(1)));
        feed(&mut ice, &check(2, false, "ours:them", &key), path(2), now);
        assert_eq!(ice.selected(), Some(path(1)));
        feed(&mut ice, &check(3, true, "ours:them", &key), path(2), now);

        assert_eq!(ice.selected(), Some(path(2)));
    }

    #[test]
    fn a_client_that_wants_to_be_controlled_is_refused() {
        let (mut ice, key) = agent();
        let mut request = check(1, true, "ours:them", &key);
        // ICE-CONTROLLING becomes ICE-CONTROLLED, then an attribute that nobody knows.
        for (kind, code) in [(0x8029_u16, 487), (0x7fff, 420)] {
            let at = attribute(&request, if code == 487 { 0x802a } else { 0x8029 });
            request[at..at + 2].copy_from_slice(&kind.to_be_bytes());
            let request = sealed(&request);
            let mut reply = Vec::new();

            let message = Message::parse(&request).expect("a STUN message");
            let checked = ice.check(&message, path(1), Instant::now(), &mut reply);

            assert_eq!(checked, Checked::Refused);
            assert_eq!(Message::parse(&reply).and_then(|m| m.error), Some(code));
        }
        assert_eq!(ice.addresses().count(), 0);
    }

    #[test]
    fn p08_a_check_without_priority_and_role_is_answered() {
        let (mut ice, key) = agent();
        let full = check(1, true, "ours:them", &key);
        let mut request = full[..20].to_vec();
        for kind in [0x0006, 0x0025] {
            let at = attribute(&full, kind);
            let len = usize::from(u16::from_be_bytes([full[at + 2], full[at + 3]])).next_multiple_of(4);
            request.extend_from_slice(&full[at..at + 4 + len]);
        }
        request.extend_from_slice(&[0, 8, 0, 20]);
        let request = sealed(&request);

        let answered = feed(&mut ice, &request, path(1), Instant::now());

        assert!(matches!(answered, Checked::Answered { nominates: true, .. }), "{answered:?}");
    }

    /// Where the attribute of this kind begins.
    fn attribute(message: &[u8], kind: u16) -> usize {
        let mut at = 20;
        while message[at..at + 2] != kind.to_be_bytes() {
            at += 4 + usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]])).next_multiple_of(4);
        }
        at
    }

    /// The message with the integrity that its attributes now need, and without fingerprint.
    fn sealed(message: &[u8]) -> Vec<u8> {
        let end = attribute(message, 0x0008);
        let mut sealed = message[..end].to_vec();
        sealed[2..4].copy_from_slice(&((end - 20 + 24) as u16).to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PASSWORD.as_bytes());
        let tag = hmac::sign(&key, &sealed);
        sealed.extend_from_slice(&[0, 8, 0, 20]);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    #[test]
    fn a_stranger_changes_nothing() {
        let (mut ice, key) = agent();
        let now = Instant::now();
        let wrong = stun::Key::new("wrong-password-of-24-ch.");

        assert_eq!(feed(&mut ice, &check(1, true, "ours:them", &wrong), path(1), now), Checked::Ignored);
        assert_eq!(feed(&mut ice, &check(2, true, "ours:else", &key), path(1), now), Checked::Ignored);

        assert_eq!(ice.selected(), None);
        assert_eq!(ice.addresses().count(), 0);
    }

    #[test]
    fn after_a_restart_both_credentials_work_until_the_new_ones_nominate() {
        let (mut ice, old) = agent();
        let now = Instant::now();
        let local = IceCredentials { ufrag: "new".into(), pwd: "our-other-password-24-ch".into() };
        let remote = IceCredentials { ufrag: "thenew".into(), pwd: "their-password-of-24-ch.".into() };
        let new = stun::Key::new(&local.pwd);
        feed(&mut ice, &check(1, true, "ours:them", &old), path(1), now);

        assert_eq!(ice.restart(&local, &remote), None);
        feed(&mut ice, &check(2, false, "new:thenew", &new), path(2), now);
        assert_eq!(ice.selected(), Some(path(1)), "media stays where it is");
        let answered = feed(&mut ice, &check(3, true, "ours:them", &old), path(1), now);
        assert!(matches!(answered, Checked::Answered { retired: None, .. }), "{answered:?}");
        for (id, username, key) in [(4, "new:them", &new), (5, "ours:thenew", &old), (6, "new:thenew", &old)] {
            assert_eq!(feed(&mut ice, &check(id, true, username, key), path(3), now), Checked::Ignored, "{username}");
        }
        let answered = feed(&mut ice, &check(7, true, "new:thenew", &new), path(2), now);

        assert!(matches!(answered, Checked::Answered { retired: Some(name), .. } if name == "ours"));
        assert_eq!(ice.selected(), Some(path(2)));
        assert_eq!(feed(&mut ice, &check(8, true, "ours:them", &old), path(1), now), Checked::Ignored);
        assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn media_follows_a_client_to_a_path_that_was_checked_later() {
        let (mut ice, key) = agent();
        let now = Instant::now();
        feed(&mut ice, &check(1, true, "ours:them", &key), path(1), now);
        assert!(!ice.follow(path(9)), "never checked");
        feed(&mut ice, &check(2, false, "ours:them", &key), path(2), now + Duration::from_millis(1));

        assert!(ice.follow(path(2)));
        assert!(!ice.follow(path(1)), "what was on its way comes too late");

        assert_eq!(ice.selected(), Some(path(2)));
        feed(&mut ice, &check(3, true, "ours:them", &key), path(1), now + Duration::from_millis(2));
        assert_eq!(ice.selected(), Some(path(1)), "a nomination counts in any case");
    }

    #[test]
    fn the_last_of_several_restarts_counts() {
        let (mut ice, _) = agent();
        let now = Instant::now();
        let remote = IceCredentials { ufrag: "them".into(), pwd: "their-password-of-24-ch.".into() };
        let local = |ufrag: &str| IceCredentials { ufrag: ufrag.into(), pwd: format!("{ufrag}-password-of-24-char") };

        assert_eq!(ice.restart(&local("one1"), &remote), None);
        assert_eq!(ice.restart(&local("two2"), &remote), Some("one1".to_owned()));

        let keys = ["one1", "two2"].map(|name| stun::Key::new(&local(name).pwd));
        assert_eq!(feed(&mut ice, &check(1, true, "one1:them", &keys[0]), path(1), now), Checked::Ignored);
        assert!(matches!(
            feed(&mut ice, &check(2, true, "two2:them", &keys[1]), path(1), now),
            Checked::Answered { retired: Some(_), .. }
        ));
    }

    #[test]
    fn a_check_replayed_from_elsewhere_does_not_move_the_media() {
        let (mut ice, key) = agent();
        let now = Instant::now();
        let captured = check(1, true, "ours:them", &key);
        feed(&mut ice, &captured, path(1), now);

        assert_eq!(feed(&mut ice, &captured, path(666), now), Checked::Ignored);
        assert!(
            matches!(feed(&mut ice, &captured, path(1), now), Checked::Answered { .. }),
            "a retransmission is fine"
        );

        assert_eq!(ice.selected(), Some(path(1)));
    }

    #[test]
    fn addresses_are_bounded_in_number_and_rate() {
        let (mut ice, key) = agent();
        let now = Instant::now();

        for id in 0..100_u8 {
            feed(&mut ice, &check(id, id == 0, "ours:them", &key), path(1000 + u16::from(id)), now);
        }

        assert_eq!(ice.addresses().count(), 8);
        assert_eq!(ice.selected(), Some(path(1000)), "the selected path is never evicted");
        assert_eq!(ice.new_addresses.len(), 20);
    }
}
