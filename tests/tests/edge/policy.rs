//! The whole of an edge's policy on real packets of both families.
