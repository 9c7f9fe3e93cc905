//! Models, fault injectors and seeds for the tests of pagefold
