"""`msisync console`: the commands as pages in a browser. It finds out and does nothing that a command does not.

A page is a module with `PAGE = Page(path, title, show)`, listed in PAGES of app.py. `show` takes a Visit and gives a
View: a template of templates/ and its values, gathered by the function that the command calls as well. Values are
escaped; templates hold no scripts and no styles. What changes by itself stands in an element with the id `live`, which
`polls` of parts.html has asked for again: whoever has no JavaScript reloads the page. Filters
are fields of a GET form, so they are in the address. What takes longer than a second is asked through a Latest, as in
`visit.looks.of(key, look, fresh=seconds)`: the page is there at once and asks again until that has ended (health.py).
A page of a long list (letters/, parked/) filters what is kept in memory, and shows a part of it (listing.py). What a
browser saves is at an address of its own, among the `files` of a page, whose function gives a Download (runs.py).

An action is an `Action(path, back, plan)` of its page (pause.py is the shortest). Its GET shows the Plan that `plan`
gives, with the exact count in the title, and asks; its POST plans again and begins only if the title is still the one
that was agreed to. A plan that has to wait for what it is about says so (`is_looking`), and its page asks again. A
button elsewhere posts the same: the macro `fields` of parts.html with the title and what is kept.

`do` of the Plan acts on what the plan has found. It runs as a job of this process, told by /jobs/<id>, which polls and
survives reloading: it says how far it is with job.advance and what became of each part with job.say, and gives a
Finding; jobs.new_file has room for a file. Who began what, and its end, is written to the journal (journal.py) first
and last; after the end of the process, /jobs/<id> shows that.

security.py guards every request, whoever the console is for; local.py is for the operator of this machine.
"""
