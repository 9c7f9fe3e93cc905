//! Which rule runs on which packing.
//!
//! | cell | meaning |
//! |---|---|
//! | `yes` | all interleavings with up to two preemptions |
//! | `once("..")` | with one preemption, and why not two |
//! | `skip("..")` | not at all, and why |
//!
//! Rules about what one packing alone has (reclaim, side words, classes that lend) lie beside its shape. Contiguous ranges
//! have no row: what they do to a pool's frames is migration, which has rows, and their own steps are modelled in
//! `pagefold-frame`. Compaction here moves objects; frames that it moves are modelled there as well.

macro_rules! cell {
    ($rule:path, $packing:ident, yes) => {
        #[test]
        fn $packing() {
            crate::model(2, || $rule(&crate::packings::$packing::SHAPE));
        }
    };
    ($rule:path, $packing:ident, once($why:literal)) => {
        #[doc = $why]
        #[test]
        fn $packing() {
            crate::model(1, || $rule(&crate::packings::$packing::SHAPE));
        }
    };
    ($rule:path, $packing:ident, skip($why:literal)) => {
        #[test]
        #[ignore = $why]
        fn $packing() {}
    };
}

macro_rules! table {
    (
        rule | nbud | zbud | xcfmalloc | zsmalloc | plain;
        $($file:ident::$rule:ident
            | $nbud:ident $(($nbud_why:literal))?
            | $zbud:ident $(($zbud_why:literal))?
            | $xcfmalloc:ident $(($xcfmalloc_why:literal))?
            | $zsmalloc:ident $(($zsmalloc_why:literal))?
            | $plain:ident $(($plain_why:literal))?;)*
    ) => {
        $(mod $rule {
            cell!(crate::rules::$file::$rule, nbud, $nbud $(($nbud_why))?);
            cell!(crate::rules::$file::$rule, zbud, $zbud $(($zbud_why))?);
            cell!(crate::rules::$file::$rule, xcfmalloc, $xcfmalloc $(($xcfmalloc_why))?);
            cell!(crate::rules::$file::$rule, zsmalloc, $zsmalloc $(($zsmalloc_why))?);
            cell!(crate::rules::$file::$rule, plain, $plain $(($plain_why))?);
        })*
    };
}

table! {
    rule | nbud | zbud | xcfmalloc | zsmalloc | plain;

    read::a_read_beside_a_free_and_a_store_sees_the_object_or_nothing        | yes | yes | yes | yes | yes;
    read::a_read_beside_the_free_of_a_whole_frame_sees_the_object_or_nothing | yes | yes | yes | yes | yes;
    read::a_read_beside_an_overwrite_sees_old_or_new                         | yes | yes | yes | yes | yes;
    read::a_read_beside_compaction_finds_the_object                          | yes | yes | yes | yes | skip("nothing to compact");
    read::a_read_beside_migration_finds_the_object                           | yes | yes | yes | yes | yes;
    read::a_try_read_beside_compaction_finds_the_object_or_would_block       | yes | yes | yes | yes | skip("nothing to compact");

    free::of_two_frees_one_succeeds                                          | yes | yes | yes | yes | yes;
    free::a_free_beside_a_pending_free_loses_neither                         | yes | yes | yes | yes | yes;
    free::a_store_beside_a_free_finds_the_place_or_another                   | yes | yes | yes | yes | yes;
    free::a_free_beside_compaction_frees_the_object_where_it_is              | yes | yes | yes | yes | skip("nothing to compact");
    free::a_pending_free_beside_compaction_is_not_lost                       | yes | yes | yes | yes | skip("nothing to compact");
    free::a_free_beside_migration_frees_the_object_where_it_is               | yes | yes | yes | yes | yes;
    free::a_free_of_the_last_object_beside_a_trim_leaves_no_frame            | yes | yes | yes | yes | yes;

    overwrite::an_overwrite_inside_a_read_goes_elsewhere_whole               | yes | yes | yes | yes | yes;
    overwrite::of_two_overwrites_one_is_last_and_whole                       | yes | yes | yes | yes | yes;
    overwrite::an_overwrite_beside_a_free_and_an_alloc_touches_no_other      | yes | yes | yes | yes | yes;
    overwrite::an_overwrite_beside_compaction_is_not_lost                    | yes | yes | yes | yes | skip("nothing to compact");
    overwrite::an_overwrite_beside_migration_is_not_lost                     | yes | yes | yes | yes | yes;

    upkeep::a_store_beside_compaction_loses_nothing                          | yes | yes | yes | yes | skip("nothing to compact");
    upkeep::a_store_beside_a_trim_keeps_its_frame                            | yes | yes | yes | yes | yes;
    upkeep::two_compactors_lose_nothing                                      | yes | yes | yes | yes | skip("nothing to compact");

    handles::the_last_free_of_an_index_beside_a_trim_retires_it              | yes | yes | yes | yes | skip("the builder alone makes short tables");
    handles::a_pending_last_free_of_an_index_beside_a_trim_retires_it        | yes | yes | yes | yes | skip("the builder alone makes short tables");
}
