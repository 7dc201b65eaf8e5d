"""Moving everything that a store holds to a place of another backend, or of the same: see `sessiondb.migrate`.

The order, and what each step is for:

1. the source is opened read-only, read as a whole and judged: what cannot be read or does not fit ends it here, before
   anything was touched. What the source holds is known by count and digest from here on;
2. the target is looked at, read-only; a preview ends here;
3. the target's locks are taken; what it holds goes from its log into its file, and is copied aside;
4. the new store is made apart from the target's place, read back and compared with the source;
5. the old store's log, which is empty, is removed; the old store is whole without it;
6. the new store takes the place in one step. Its position is inside it, so it is whole without a log, too;
7. a new log is begun.

A crash before step 6 leaves the old store, one behind it the new store. Whoever runs it again finds out which.
"""
