//! How many interleavings each model has: one count for each order of spawning. They repeat
//! exactly. A count that falls tells of a lock or counter that goes past the sync door; one that
//! changes, of a verb that locks otherwise than it did.

pub(crate) const GOLDEN: &[(&str, [u64; 2])] = &[
    ("a_block_is_evicted_or_written_never_both", [13815, 13815]),
    ("a_budget_gives_each_byte_once", [9, 144]),
    ("a_cut_shows_no_half_of_a_write_that_is_read", [6845, 6036]),
    ("a_file_is_there_until_it_is_forgotten", [99, 108]),
    ("a_load_ends_amid_a_write_and_a_truncate", [12024, 10503]),
    ("a_load_never_overwrites_a_write", [897, 897]),
    ("a_new_handle_in_an_old_slot_is_another", [90, 54]),
    ("a_read_of_an_evicted_block_is_whole", [909, 315]),
    ("a_read_sees_all_of_a_write_or_nothing", [81, 81]),
    ("a_size_is_the_one_before_or_after_a_write", [27, 27]),
    ("a_truncate_is_in_the_cut_or_after_it", [45, 36]),
    ("a_write_after_a_grant_takes_the_capability_away", [1881, 3429]),
    ("a_write_and_the_loss_of_a_capability_are_in_one_cut", [153, 126]),
    ("a_write_beside_a_discard_goes_or_counts_as_changed", [333, 81]),
    ("a_write_beside_a_restore_goes_or_counts_as_changed", [144, 54]),
    ("a_write_is_in_the_cut_or_after_it_whole", [81, 171]),
    ("a_write_through_a_closed_handle_is_refused", [36, 27]),
    ("a_write_to_frozen_blocks_leaves_the_cut_alone", [909, 315]),
    ("an_extended_file_reads_zeros", [252, 72]),
    ("an_input_left_behind_is_taken", [108, 108]),
    ("bytes_past_a_cut_never_come_back", [45, 90]),
    // One step more than an upload of data alone: the nodes are laid by a job of their own.
    ("the_end_of_an_upload_leaves_a_later_write_dirty", [3726, 1296]),
    ("two_writes_of_two_blocks_are_each_one_step", [81, 81]),
    ("two_writes_without_room_for_both_are_both_done", [81, 81]),
    ("two_writes_that_prepare_are_each_one_step", [13815, 13815]),
];
