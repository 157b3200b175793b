//! RTCP: what we read and what we write.
