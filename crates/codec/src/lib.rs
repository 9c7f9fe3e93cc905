//! The codecs of pagefold
