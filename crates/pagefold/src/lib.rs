//! Compressed memory for user space
