"""From maps to decisions: defects, image verdicts, lot grades, acceptance sampling and suppliers; pure host code."""
