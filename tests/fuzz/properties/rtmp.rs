//! A connection's bytes → events: parts follow each other, nothing is left behind, what waits for the peer is bounded.

use sluicegate::{
    limits::{RTMP_OUTPUT_BYTES_MAX, SMALL_MESSAGE_BYTES_MAX},
    rtmp::{Event, Fragment, PublishRefusal, Session},
};

use super::Input;

/// The first byte says how the bytes are cut into reads, and whether the handshake is among them.
pub(crate) fn hold(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.byte();
    let mut listener = Listener { refuses: how & 0x80 != 0, ..Listener::default() };
    let mut session = Session::new();
    if how & 0x40 == 0 {
        let hello = [&[3][..], &[0x55; 2 * 1536]].concat();
        listener.hear(&mut session, &hello).expect("a plain handshake is understood");
    }
    // The answers are read now and then.
    let piece = [1, 2, 7, 11, 64, 129, 1460, 1 << 15][usize::from(how & 7)];
    for (n, piece) in input.0.chunks(piece).enumerate() {
        if listener.hear(&mut session, piece).is_err() {
            return;
        }
        if how & 8 == 0 || n % 16 == 0 {
            session.consume_output(if how & 16 == 0 { usize::MAX } else { 5 });
        }
    }
}

/// Lets the peer publish, or does not, and checks what it hears.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) refuses: bool,
    /// Length of the video message that is being received, and what of it came.
    video: (u32, u32),
    pub(crate) events: usize,
}

impl Listener {
    pub(crate) fn hear(
        &mut self,
        session: &mut Session,
        mut input: &[u8],
    ) -> Result<(), sluicegate::rtmp::Error> {
        loop {
            let event = session.next(&mut input)?;
            let Some(event) = event else { break };
            self.events += 1;
            match event {
                Event::Publish(publish) => {
                    let address = publish.address();
                    assert!(!address.channel.contains('/') && !address.folder.starts_with('/'));
                    if self.refuses {
                        session.refuse_publish(PublishRefusal::Denied, "no");
                    } else {
                        session.accept_publish();
                        assert!(session.is_publishing());
                    }
                }
                Event::Video(Fragment { message_bytes, offset, bytes, .. }) => {
                    if offset == 0 {
                        self.video = (message_bytes, 0);
                    }
                    let (whole, received) = self.video;
                    assert_eq!((message_bytes, offset), (whole, received), "a part is missing");
                    let received = received + bytes.len() as u32;
                    assert!(!bytes.is_empty() && received <= whole && whole < 1 << 24);
                    self.video = (whole, received);
                }
                Event::Audio { payload, .. } => {
                    assert!((1..=SMALL_MESSAGE_BYTES_MAX).contains(&payload.len()));
                }
                Event::Metadata(_) | Event::End => {}
            }
        }
        assert!(input.is_empty(), "bytes are left behind");
        assert!(session.output().len() <= RTMP_OUTPUT_BYTES_MAX);
        Ok(())
    }
}
