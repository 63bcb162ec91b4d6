//! A reader that sees the store alone, at every instant in which the branch moves.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use vellum_core::format::Hash;

use super::stored::check_snapshot;
use crate::mount::{self, Mounted};
use crate::world::World;

/// Every snapshot that the branch has named, in their order.
pub(super) type Heads = Rc<RefCell<Vec<Hash>>>;

/// How it is told what a reader of the store alone finds wrong.
pub(super) fn seen(why: impl Display) -> String {
    format!("a reader of the store sees: {why}")
}

/// Looks at the branch whenever it has moved: everything that the snapshot reaches is there and
/// right, and it is made from the one before, which nobody has jumped over.
pub(super) fn follow(world: &mut World<Mounted>) -> Heads {
    let mut last = mount::branch(&world.store).expect("the repository has a branch");
    let heads: Heads = Rc::new(RefCell::new(last.snapshot.into_iter().collect()));
    let seen = Rc::clone(&heads);
    world.watch(move |store| {
        let now = mount::branch(store)?;
        let hash = now.snapshot.ok_or("the branch names nothing any more")?;
        if now.generation != last.generation + 1 {
            return Err(format!("generation {} follows {}", now.generation, last.generation));
        }
        check_snapshot(&store.objects, &hash)?;
        let parents = mount::snapshot_of(store, &hash)?.parents;
        if last.snapshot.is_some_and(|last| hash != last && parents != [last]) {
            return Err(format!(
                "{hash} is made from {parents:?}, and follows {:?}",
                last.snapshot
            ));
        }
        last = now;
        seen.borrow_mut().push(hash);
        Ok(())
    });
    heads
}
