//! Places for connections. When all are taken, one that waits for its peer makes room, of whoever holds the most of those.
//!
//! So nobody keeps a camera or a viewer out by opening connections, or by reading slowly: whoever holds many loses their own.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
};

use tokio::sync::Notify;

/// So many places.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    /// The oldest first.
    taken: RefCell<Vec<Taken>>,
    last_id: Cell<u64>,
}

#[derive(Debug)]
struct Taken {
    id: u64,
    address: IpAddr,
    used_for: Use,
    lost: Rc<Notify>,
}

/// What a connection does with its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// It waits for its peer to say something.
    Idle,
    /// It sends its peer something, as fast as that reads. Lost only to somebody who has fewer.
    Sending,
    /// It publishes, or changes something. Never lost.
    Busy,
}

/// One of them, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    id: u64,
    lost: Rc<Notify>,
}

impl Places {
    /// So many, all free.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, taken: RefCell::default(), last_id: Cell::new(0) })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().len()
    }

    /// A place for a connection from `address`, which does nothing so far. `None`: all are busy.
    pub(super) fn enter(places: &Rc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = places.taken.borrow_mut();
        if taken.len() >= places.max {
            let oldest = oldest_of_most(&taken, Use::Idle).or_else(|| {
                let own = taken.iter().filter(|place| place.address == address).count();
                oldest_of_most(&taken, Use::Sending).filter(|(_, held)| *held > own + 1)
            });
            let (oldest, _) = oldest?;
            taken.remove(oldest).lost.notify_one();
        }
        let id = places.last_id.get() + 1;
        places.last_id.set(id);
        let lost = Rc::new(Notify::new());
        taken.push(Taken { id, address, used_for: Use::Idle, lost: Rc::clone(&lost) });
        Some(Place { places: Rc::clone(places), id, lost })
    }
}

impl Place {
    /// Says what the connection does from here on.
    pub(super) fn set(&self, used_for: Use) {
        let mut taken = self.places.taken.borrow_mut();
        if let Some(place) = taken.iter_mut().find(|place| place.id == self.id) {
            place.used_for = used_for;
        }
    }

    /// Comes back when the place has gone to another connection.
    ///
    /// Cancel-safe: the news is kept until it is asked for.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}

/// The oldest place that is used so, of the address that has most of those, and how many it has.
fn oldest_of_most(taken: &[Taken], used_for: Use) -> Option<(usize, usize)> {
    let such = || taken.iter().enumerate().filter(|(_, place)| place.used_for == used_for);
    let held = |address| such().filter(|(_, place)| place.address == address).count();
    let most = such().map(|(_, place)| held(place.address)).max()?;
    let (oldest, _) = such().find(|(_, place)| held(place.address) == most)?;
    Some((oldest, most))
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().retain(|place| place.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    /// The ids of those who have a place, with their addresses.
    fn who(places: &Places) -> Vec<(u64, IpAddr)> {
        places.taken.borrow().iter().map(|place| (place.id, place.address)).collect()
    }

    #[test]
    fn whoever_holds_the_most_idle_places_loses_the_oldest_of_them() {
        let places = Places::new(4);
        let enter = |last| Places::enter(&places, address(last)).unwrap();
        let _camera = enter(1);
        let flood: Vec<_> = (0..3).map(|_| enter(66)).collect();
        let more: Vec<_> = (0..100).map(|_| enter(66)).collect();
        assert_eq!(who(&places)[0], (1, address(1)), "the camera has kept its place");
        assert_eq!(who(&places).len(), 4);
        drop(flood);
        assert_eq!(who(&places).len(), 4, "what was lost is not given back");
        let _another = enter(2);
        assert_eq!(who(&places)[1..].iter().filter(|(_, who)| *who == address(66)).count(), 2);
        drop(more);
        assert_eq!(who(&places).len(), 2);
    }

    #[test]
    fn the_busy_are_left_alone() {
        let places = Places::new(2);
        let [a, b] = [66, 66].map(|last| Places::enter(&places, address(last)).unwrap());
        a.set(Use::Busy);
        let c = Places::enter(&places, address(1)).unwrap();
        assert_eq!(who(&places).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3]);
        c.set(Use::Busy);
        b.set(Use::Busy);
        assert!(Places::enter(&places, address(2)).is_none());
        a.set(Use::Idle);
        assert!(Places::enter(&places, address(2)).is_some());
    }

    #[test]
    fn a_slow_reader_makes_room_for_somebody_who_has_fewer() {
        let places = Places::new(4);
        let enter = |last| Places::enter(&places, address(last));
        let held: Vec<_> = [66, 66, 66, 1].into_iter().map(|last| enter(last).unwrap()).collect();
        held.iter().for_each(|place| place.set(Use::Sending));
        assert!(enter(66).is_none(), "those who have most get no more");
        let two = enter(2).unwrap();
        two.set(Use::Sending);
        assert_eq!(who(&places)[0].0, 2, "the oldest of three is gone");
        assert!(enter(1).is_none(), "two are not more than one and the one that comes");
        assert!(enter(3).is_some());
    }

    #[test]
    fn an_ipv4_address_is_the_same_on_a_socket_of_ipv6() {
        let places = Places::new(2);
        let _a = Places::enter(&places, address(66)).unwrap();
        let _b = Places::enter(&places, "::ffff:192.168.1.66".parse().unwrap()).unwrap();
        assert_eq!(who(&places)[0].1, who(&places)[1].1);
    }
}
