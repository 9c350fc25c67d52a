"""Common words that open sentences with a capital letter; none is a name."""

NEVER_NAMES = frozenset(
    "deep high far late early low down up away off back soon boom bang crash splash whoosh snap ding knock pop "
    "a after again all an and another as at before both but by each eventually every everybody everyone finally "
    "first for from he her here his how i if in it its last later let long many meanwhile my next no nobody not "
    "now of on once one or our out over perhaps she so some somebody someone soon still suddenly that the their "
    "then there these they this those three to today together tomorrow two under until up we what when where "
    "which while who why with yesterday yet you your children people kids everything anything clouds cloud wind "
    "winds leaves doors door snowflakes raindrops birds bird bees butterflies fish music laughter silence thunder "
    "lightning sunlight light smoke steam water waves footsteps hooray hurray yes oh ah wow hello hi goodbye bye "
    "thanks sorry please psst shh look ouch oops careful quick wait stop help come go happy sad tired hungry cold "
    "wet warm quiet dry brave old young poor dear little big great good best funny strange inside outside above "
    "below behind beyond between among near far beside across along through around without within during since "
    "because although though however instead luckily alone maybe well sometimes often always never usually almost "
    "even only just nothing none neither either half most more much too very whoever whatever wherever whenever "
    "nearby somewhere everywhere nowhere anyway otherwise afterwards afterward beforehand unless whether like "
    "unlike underneath beneath upstairs downstairs somehow surely certainly magic winter summer spring autumn "
    "morning evening night midnight noon dawn dusk sunset sunrise christmas birthday time days hours minutes "
    "years weeks monday tuesday wednesday thursday friday saturday sunday easter".split()
)
