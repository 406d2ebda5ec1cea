use crate::{Area, Slot};

/// Where the memories lay that kernels were captured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bases {
    /// Of each area its address, and the end of what is used of it.
    areas: Vec<(Area, u64, usize)>,
}

impl Bases {
    /// Takes down that an operand lies in a memory at that address.
    pub(crate) fn note(&mut self, slot: Slot, address: u64) {
        let end = slot.offset + slot.len;
        match self.areas.iter_mut().find(|(area, ..)| *area == slot.area) {
            Some((.., most)) => *most = end.max(*most),
            None => self.areas.push((slot.area, address, end)),
        }
    }

    /// Whether all of them lie there now: `now` gives a memory's address and its length.
    pub(crate) fn are(&self, mut now: impl FnMut(Area) -> Option<(u64, usize)>) -> bool {
        let there = |&(area, address, end): &(Area, u64, usize)| {
            now(area).is_some_and(|(at, len)| at == address && end <= len)
        };
        self.areas.iter().all(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_that_moved_or_shrank_are_others() {
        let mut bases = Bases::default();
        bases.note(Slot::new(Area::Frame, 2, 3), 100);
        bases.note(Slot::new(Area::Scratch, 0, 1), 200);
        bases.note(Slot::new(Area::Frame, 0, 4), 100);
        let now = |frame: (u64, usize)| {
            move |area| Some(if area == Area::Frame { frame } else { (200, 1) })
        };
        assert!(bases.are(now((100, 5))));
        assert!(!bases.are(now((100, 4))));
        assert!(!bases.are(now((101, 5))));
        assert!(!bases.are(|area| (area == Area::Frame).then_some((100, 5))));
    }
}
