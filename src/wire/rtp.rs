//! RTP headers and their extensions.
