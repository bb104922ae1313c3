//! Who publishes to a channel: one at a time, and by which rule the next one may.

use std::net::SocketAddr;

use crate::{
    config::{Status, Takeover},
    units::{Now, UnixSecs},
};

/// Pushes that are remembered (OSS: GetLiveChannelHistory has ten). The oldest goes first.
const HISTORY_MAX: usize = 10;

/// Names one publish session of the daemon's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublisherId(u64);

/// A publisher as it introduces itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publisher {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// What the encoder calls itself.
    pub encoder: String,
    /// Its signature was checked and is valid.
    pub is_signed: bool,
    /// The playlist name that its URL asks for.
    pub playlist_name: Option<String>,
}

/// A publisher that was let in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub id: PublisherId,
    /// Who it is.
    pub publisher: Publisher,
    /// When it was let in.
    pub since: Now,
}

/// A push that is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Push {
    /// When it began.
    pub start: UnixSecs,
    /// When it ended.
    pub end: UnixSecs,
    /// Where it came from.
    pub peer: SocketAddr,
}

/// Why a publisher is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The channel is disabled.
    #[error("the LiveChannel is disabled")]
    Disabled,
    /// Somebody publishes, and may not be replaced.
    #[error("the LiveChannel is being published to from {0}")]
    Busy(SocketAddr),
}

/// The seat of a channel's one publisher.
#[derive(Debug, Default)]
pub struct Seat {
    session: Option<Session>,
    sessions: u64,
    history: heapless::HistoryBuf<Push, HISTORY_MAX>,
}

impl Seat {
    /// Whether `newcomer` may publish. `true`: it replaces the one who does.
    ///
    /// Only a valid signature replaces anybody: on a bucket where everyone may publish, everyone could take any camera's place.
    pub fn admits(
        &self,
        newcomer: &Publisher,
        status: Status,
        takeover: Takeover,
    ) -> Result<bool, Refused> {
        match &self.session {
            _ if status == Status::Disabled => Err(Refused::Disabled),
            None => Ok(false),
            Some(_) if takeover == Takeover::Replace && newcomer.is_signed => Ok(true),
            Some(session) => Err(Refused::Busy(session.publisher.peer)),
        }
    }

    /// Seats a publisher that [`admits`](Self::admits) let in; the seat is free.
    pub fn take(&mut self, publisher: Publisher, now: Now) -> PublisherId {
        self.sessions += 1;
        let id = PublisherId(self.sessions);
        self.session = Some(Session { id, publisher, since: now });
        id
    }

    /// Frees the seat if `id` has it.
    pub fn leave(&mut self, id: PublisherId, now: Now) -> Option<Session> {
        let session = self.session.take_if(|session| session.id == id)?;
        let start = session.since.wall.as_secs();
        self.history.write(Push {
            start,
            end: now.wall.as_secs().max(start),
            peer: session.publisher.peer,
        });
        Some(session)
    }

    /// Who publishes.
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// How many have published so far.
    pub const fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The last pushes, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Push> {
        self.history.oldest_ordered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(is_signed: bool) -> Publisher {
        Publisher {
            peer: SocketAddr::from(([10, 0, 0, 1], 5000)),
            encoder: String::new(),
            is_signed,
            playlist_name: None,
        }
    }

    #[test]
    fn a_second_publisher_is_let_in_as_the_table_says() {
        let mut seat = Seat::default();
        assert_eq!(seat.admits(&publisher(false), Status::Enabled, Takeover::Reject), Ok(false));
        let id = seat.take(publisher(true), Now::default());
        let busy = Err(Refused::Busy(publisher(true).peer));
        let table = [
            (true, Status::Enabled, Takeover::Replace, Ok(true)),
            (false, Status::Enabled, Takeover::Replace, busy),
            (true, Status::Enabled, Takeover::Reject, busy),
            (true, Status::Disabled, Takeover::Replace, Err(Refused::Disabled)),
        ];
        for (is_signed, status, takeover, expected) in table {
            assert_eq!(seat.admits(&publisher(is_signed), status, takeover), expected);
        }
        assert!(seat.leave(id, Now::default()).is_some());
        assert!(seat.leave(id, Now::default()).is_none(), "a session ends once");
    }

    #[test]
    fn an_old_session_cannot_end_a_new_one() {
        let mut seat = Seat::default();
        let old = seat.take(publisher(true), Now::default());
        seat.leave(old, Now::default());
        let new = seat.take(publisher(true), Now::default());
        assert!(seat.leave(old, Now::default()).is_none());
        assert_eq!(seat.session().map(|session| session.id), Some(new));
    }

    #[test]
    fn in_whatever_order_they_come_and_go_one_at_most_has_the_channel() {
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut seat = Seat::default();
        let mut ids = Vec::new();
        let mut owner = None;
        for _ in 0..10_000 {
            if random(2) == 0 {
                let newcomer = publisher(random(2) == 0);
                let admitted = seat.admits(&newcomer, Status::Enabled, Takeover::Replace);
                assert_eq!(admitted.is_ok(), owner.is_none() || newcomer.is_signed);
                let Ok(replaces) = admitted else { continue };
                assert_eq!(replaces, owner.is_some());
                if let Some(old) = owner {
                    assert!(seat.leave(old, Now::default()).is_some());
                }
                owner = Some(seat.take(newcomer, Now::default()));
                ids.extend(owner);
            } else if !ids.is_empty() {
                // Anybody's goodbye, also one that comes late or twice.
                let id = ids[random(ids.len() as u64) as usize];
                assert_eq!(seat.leave(id, Now::default()).is_some(), owner == Some(id));
                owner = owner.filter(|owner| *owner != id);
            }
            assert_eq!(seat.session().map(|session| session.id), owner);
        }
        assert!(ids.len() > 1_000);
    }

    #[test]
    fn the_last_ten_pushes_are_remembered() {
        let mut seat = Seat::default();
        for n in 0..15 {
            let at = |ms| Now { wall: crate::units::UnixMillis(ms), ..Now::default() };
            let id = seat.take(publisher(true), at(n * 10_000));
            seat.leave(id, at(n * 10_000 + 5_000));
        }
        let starts: Vec<_> = seat.history().map(|push| push.start.0).collect();
        assert_eq!(starts, (5..15).map(|n| n * 10).collect::<Vec<_>>());
    }
}
