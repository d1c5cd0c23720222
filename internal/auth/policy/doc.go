// Package policy reads, checks and evaluates policy documents in the language
// of AWS IAM: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html.
// It does no I/O: whoever loads documents gives them to Evaluate together with
// what is asked for.
//
// A document is compiled once, by Parse, and then shared: it never changes.
// What Parse does not know it refuses, because a condition that is not
// understood may be one that was meant to deny. Where a value only turns out at
// evaluation not to be comparable, such as an address that is none, a statement
// that allows does not apply and one that denies does.
//
// # Differences from AWS
//
// They all lean towards refusing:
//
//   - An empty list of values in a condition, a condition key without a service
//     prefix, and an ARN with fewer than six fields that does not end in a star
//     are refused when parsed.
//   - A key with several values, under an operator without ForAnyValue or
//     ForAllValues, has to give the same answer for each of them; otherwise
//     Allow does not apply and Deny does.
//   - Allow with the principal "*" does not stand for callers of a web identity
//     provider; they have to be named by a Federated principal. Deny does.
//   - Canonical users are not known here: a Deny that names one applies to
//     everybody, an Allow to nobody.
//   - An Allow with a NotResource whose variable has no value does not apply.
package policy
