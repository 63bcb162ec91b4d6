//! A reader that sees the store alone, at every instant in which the branch moves.

use std::cell::RefCell;
use std::rc::Rc;

use vellum_core::format::Hash;

use super::stored::check_snapshot;
use crate::mount::{self, Mounted};
use crate::store::SimStore;
use crate::world::World;

/// Every snapshot that the branch has named, in their order.
pub(super) type Heads = Rc<RefCell<Vec<Hash>>>;

/// Looks at the branch whenever it has moved: everything that the snapshot reaches is there and
/// right, and it is made from the one before, which nobody has jumped over.
pub(super) fn follow(world: &mut World<Mounted>) -> Heads {
    let mut last = mount::head(&world.store);
    let mut generation = mount::generation(&world.store);
    let heads: Heads = Rc::new(RefCell::new(last.into_iter().collect()));
    let seen = Rc::clone(&heads);
    world.watch(move |store| {
        let (head, now) = (mount::head(store), mount::generation(store));
        let hash = head.ok_or("the branch names nothing any more")?;
        if now != generation.map(|last| last + 1) {
            return Err(format!("generation {now:?} comes after {generation:?}"));
        }
        check_snapshot(&store.objects, &hash)?;
        let parents = parents(store, &hash)?;
        if head != last && last.is_some_and(|last| parents != [last]) {
            return Err(format!("{hash} is made from {parents:?}, and follows {last:?}"));
        }
        (last, generation) = (head, now);
        seen.borrow_mut().push(hash);
        Ok(())
    });
    heads
}

fn parents(store: &SimStore, hash: &Hash) -> Result<Vec<Hash>, String> {
    mount::snapshot_of(store, hash).map(|snapshot| snapshot.parents)
}
