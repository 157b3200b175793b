//! STUN binding requests and responses, as an ICE-lite server needs them.
