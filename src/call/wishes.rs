//! Lets requests for key frames through to whoever sends: the library keeps RTCP to itself otherwise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use rtc::interceptor::{Attribute, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// Adds it as the last one, so that all others have seen everything. What the other end says about its losses is left
/// in `lost`, in 1/256 of the packets since its report before.
pub(super) fn pass(registry: Registry, lost: Arc<AtomicU8>) -> Registry {
    registry.with(Slot::from(LAST), Wishes { lost, read: VecDeque::new(), written: VecDeque::new() })
}

/// The names of the sources that a packet wants key frames of; empty when it is about something else.
pub(crate) fn wanted(packet: &dyn rtc::rtcp::Packet) -> Vec<u32> {
    let packet = packet.as_any();
    if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
        vec![pli.media_ssrc]
    } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
        fir.fir.iter().map(|entry| entry.ssrc).collect()
    } else {
        Vec::new()
    }
}

struct Wishes {
    lost: Arc<AtomicU8>,
    read: VecDeque<TaggedPacket>,
    written: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Wishes {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut message.message.packet {
            let reports = packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<ReceiverReport>());
            if let Some(lost) = reports.flat_map(|report| &report.reports).map(|report| report.fraction_lost).max() {
                self.lost.store(lost, Ordering::Relaxed);
            }
            packets.retain(|packet| !wanted(packet.as_ref()).is_empty());
            if packets.is_empty() {
                return Ok(());
            }
            message.message.add(Attribute::DeliverToApplication);
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.written.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.written.pop_front()
    }
}

impl Interceptor for Wishes {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// After all that the library has.
const LAST: usize = 14_000;
