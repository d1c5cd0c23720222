package app

// An image made of this program has no time zones on its disk.
import _ "time/tzdata"
