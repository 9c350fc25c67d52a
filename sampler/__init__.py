"""From a plan to pictures: schedules, steps, noise fields, regions, text pool, entity bank, processors, story loop."""
